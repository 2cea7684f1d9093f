// For loops that are compiled for several instruction sets from one source: each set has a function of its own with the
// attribute target, into which everything is inlined. As in passes.cpp.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(PVLR_NO_DISPATCH)
#define PVLR_DISPATCH 1
#else
#define PVLR_DISPATCH 0
#endif

#define PVLR_INLINE inline __attribute__((always_inline))

namespace pvlr {

// e^x for x <= 0, and NaN for NaN, within 2 units in the last place; written so that compilers vectorise loops of it.
PVLR_INLINE float exp_of_negative(float x) {
  const float clamped = x < -87.3F ? -87.3F : x;
  const float n = std::floor(clamped * 1.44269504F + 0.5F);
  const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
  float y = 1.9875691500e-4F;
  y = y * r + 1.3981999507e-3F;
  y = y * r + 8.3334519073e-3F;
  y = y * r + 4.1665795894e-2F;
  y = y * r + 1.6666665459e-1F;
  y = y * r + 5.0000001201e-1F;
  y = y * r * r + r + 1.0F;
  // NaN makes the exponent's bits meaningless, and y NaN.
  const auto exponent = static_cast<std::int32_t>(n == n ? n : 0.0F) + 127;
  const auto bits = static_cast<std::uint32_t>(exponent) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.3F ? 0.0F : y * power;
}

}  // namespace pvlr
