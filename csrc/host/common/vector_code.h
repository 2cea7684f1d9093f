// For loops that are compiled for several instruction sets from one source: a body that is inlined into one function
// per set, of which the processor's best is chosen at run time. PVLR_NO_DISPATCH leaves the compiler's own target only.
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

// Defines name_portable, name_avx2 and name_avx512, which call name_body; PVLR_BEST chooses one of them.
#if PVLR_DISPATCH
#define PVLR_AVX2 __attribute__((target("avx2,fma")))
#define PVLR_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define PVLR_VERSIONS(name, Argument)                                             \
  void name##_portable(const Argument& argument) { name##_body(argument); }       \
  PVLR_AVX2 void name##_avx2(const Argument& argument) { name##_body(argument); } \
  PVLR_AVX512 void name##_avx512(const Argument& argument) { name##_body(argument); }
#define PVLR_BEST(name) (has_avx512() ? name##_avx512 : has_avx2() ? name##_avx2 : name##_portable)
#else
#define PVLR_VERSIONS(name, Argument) \
  void name##_portable(const Argument& argument) { name##_body(argument); }
#define PVLR_BEST(name) name##_portable
#endif

namespace pvlr {

#if PVLR_DISPATCH
inline bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
inline bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && has_avx2();
}
#endif

// e^x for x <= 0, and NaN for NaN, within 2 units in the last place; written so that compilers vectorise loops over it.
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
  // For NaN the exponent's bits are meaningless, but y is NaN.
  const auto exponent = static_cast<std::int32_t>(n == n ? n : 0.0F) + 127;
  const auto bits = static_cast<std::uint32_t>(exponent) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.3F ? 0.0F : y * power;
}

}  // namespace pvlr
