// float16 and bfloat16 on the CPU, by their bits; rounding is to nearest even, as in hardware.
#pragma once

#include <cstdint>
#include <cstring>

namespace pvlr {

struct Half {
  std::uint16_t bits;
};
struct Bfloat16 {
  std::uint16_t bits;
};

inline float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline std::uint32_t bits_of_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float to_float(float value) { return value; }
inline float to_float(Bfloat16 value) { return float_of_bits(static_cast<std::uint32_t>(value.bits) << 16); }
inline float to_float(Half value) {
  const std::uint32_t sign = (value.bits & 0x8000U) << 16;
  const std::uint32_t rest = value.bits & 0x7FFFU;
  if (rest >= 0x7C00U) return float_of_bits(sign | 0x7F800000U | (rest & 0x3FFU) << 13);
  // Exponents differ by 112. Multiplying by 2^112 works for denormals too, as 2^-112 is a normal float.
  return float_of_bits(sign | bits_of_float(float_of_bits(rest << 13) * float_of_bits((127U + 112U) << 23)));
}

inline void from_float(float value, float* to) { *to = value; }
inline void from_float(float value, Bfloat16* to) {
  const std::uint32_t bits = bits_of_float(value);
  const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  const std::uint32_t rounded = bits + 0x7FFFU + (bits >> 16 & 1U);
  to->bits = static_cast<std::uint16_t>(nan ? (bits >> 16 | 0x40U) : rounded >> 16);
}
inline void from_float(float value, Half* to) {
  const std::uint32_t bits = bits_of_float(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t rest = bits & 0x7FFFFFFFU;
  std::uint32_t half;
  if (rest > 0x7F800000U) {
    half = 0x7E00U;
  } else if (rest >= 0x477FF000U) {  // 65520 or more
    half = 0x7C00U;
  } else if (rest < 0x38800000U) {  // denormal: the float addition rounds at the right bit
    half = bits_of_float(float_of_bits(rest) + 0.5F) - 0x3F000000U;
  } else {
    half = (rest + 0xFFFU + (rest >> 13 & 1U) - (112U << 23)) >> 13;
  }
  to->bits = static_cast<std::uint16_t>(sign | half);
}

}  // namespace pvlr
