#include "passes.h"

#include <cstring>

// One source, several instruction sets: each body is inlined into wrappers that differ in their target only.
// PVLR_NO_DISPATCH leaves the compiler's default target alone (sanitizers, cross-checks).
#if defined(__x86_64__) && defined(__GNUC__) && !defined(PVLR_NO_DISPATCH)
#define PVLR_DISPATCH 1
#else
#define PVLR_DISPATCH 0
#endif

#define PVLR_INLINE inline __attribute__((always_inline))

namespace pvlr {
namespace {

using Float4 = float __attribute__((vector_size(16)));

constexpr std::int64_t kChunk = 64;  // four AVX-512 registers of sums: enough to hide the latency of an FMA

PVLR_INLINE void vertical_body(const std::uint8_t* const* rows, const float* weights, std::int64_t taps, std::int64_t n,
                               float* out) {
  std::int64_t x = 0;
  for (; x + kChunk <= n; x += kChunk) {
    float sum[kChunk] = {};
    for (std::int64_t k = 0; k < taps; ++k) {
      const std::uint8_t* row = rows[k] + x;
      const float weight = weights[k];
#pragma GCC unroll 64
      for (std::int64_t i = 0; i < kChunk; ++i) sum[i] += weight * static_cast<float>(row[i]);
    }
    std::memcpy(out + x, sum, sizeof sum);
  }
  for (; x < n; ++x) {
    float sum = 0.0F;
    for (std::int64_t k = 0; k < taps; ++k) sum += weights[k] * static_cast<float>(rows[k][x]);
    out[x] = sum;
  }
}

template <std::int64_t kChannels>
PVLR_INLINE void horizontal_body(const float* line, const AxisFilter& filter, const float* scale, const float* bias,
                                 float* const* planes) {
  const std::int64_t width = filter.size();
  const Float4 scales = {scale[0], scale[1], scale[2], 0.0F};
  const Float4 biases = {bias[0], bias[1], bias[2], 0.0F};
  for (std::int64_t i = 0; i < width; ++i) {
    const float* weights = filter.weights(i);
    const float* pixel = line + filter.first(i) * kChannels;
    const std::int64_t count = filter.count(i);
    Float4 sum = {};
    for (std::int64_t k = 0; k < count; ++k) {
      Float4 value;
      if constexpr (kChannels == 1) {
        value = Float4{} + pixel[k];
      } else {
        std::memcpy(&value, pixel + k * kChannels, sizeof value);
      }
      sum += value * weights[k];
    }
    const Float4 normalised = sum * scales + biases;
    planes[0][i] = normalised[0];
    planes[1][i] = normalised[1];
    planes[2][i] = normalised[2];
  }
}

#define PVLR_PASSES(name, target)                                                                                \
  namespace name {                                                                                               \
  target void vertical(const std::uint8_t* const* rows, const float* weights, std::int64_t taps, std::int64_t n, \
                       float* out) {                                                                             \
    vertical_body(rows, weights, taps, n, out);                                                                  \
  }                                                                                                              \
  template <std::int64_t kChannels>                                                                              \
  target void horizontal(const float* line, const AxisFilter& filter, const float* scale, const float* bias,     \
                         float* const* planes) {                                                                 \
    horizontal_body<kChannels>(line, filter, scale, bias, planes);                                               \
  }                                                                                                              \
  constexpr Passes passes = {vertical, horizontal<1>, horizontal<3>, horizontal<4>};                             \
  }

PVLR_PASSES(portable, )
#if PVLR_DISPATCH
PVLR_PASSES(avx2, __attribute__((target("avx2,fma"))))
PVLR_PASSES(avx512, __attribute__((target("avx512f,avx512bw,avx512vl,fma,prefer-vector-width=512"))))
#endif

const Passes& choose() {
#if PVLR_DISPATCH
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    return avx512::passes;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::passes;
#endif
  return portable::passes;
}

}  // namespace

const Passes& best_passes() {
  static const Passes& passes = choose();
  return passes;
}

}  // namespace pvlr
