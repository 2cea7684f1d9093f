#include "passes.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "pvlr/yuv.h"

// The loops are compiled for several instruction sets from one source: a body that is inlined into one function per
// set, of which the processor's best is chosen at run time.
#define PVLR_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define PVLR_DISPATCH 1
#define PVLR_AVX2 __attribute__((target("avx2,fma")))
#define PVLR_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#else
#define PVLR_DISPATCH 0
#endif

namespace pvlr {
namespace {

using Float4 = float __attribute__((vector_size(16)));

// The vertical pass from byte x on, one at a time.
PVLR_INLINE void vertical_rest(const std::uint8_t* const* rows, const float* weights, std::int64_t taps, std::int64_t x,
                               std::int64_t n, float* out) {
  for (; x < n; ++x) {
    float sum = 0.0F;
    for (std::int64_t k = 0; k < taps; ++k) sum += weights[k] * static_cast<float>(rows[k][x]);
    out[x] = sum;
  }
}

template <std::int64_t kChannels>
PVLR_INLINE Float4 load_pixel(const float* pixel) {
  if constexpr (kChannels == 1) return Float4{*pixel, *pixel, *pixel, *pixel};
  Float4 value;
  std::memcpy(&value, pixel, sizeof value);
  return value;
}

// The filtered pixels begin..begin+kGroup-1: independent sums, to hide the latency of an FMA.
template <std::int64_t kChannels, int kGroup>
PVLR_INLINE void filter_pixels(const float* line, const AxisFilter& filter, std::int64_t begin, Float4* sum) {
  const std::int64_t taps = filter.taps();
  const float* weights = filter.weights(begin);
  const float* pixels[kGroup];
#pragma GCC unroll 4
  for (int j = 0; j < kGroup; ++j) pixels[j] = line + filter.first(begin + j) * kChannels;
  for (std::int64_t k = 0; k < taps; ++k) {
#pragma GCC unroll 4
    for (int j = 0; j < kGroup; ++j) sum[j] += load_pixel<kChannels>(pixels[j] + k * kChannels) * weights[j * taps + k];
  }
}

template <std::int64_t kChannels, int kGroup>
PVLR_INLINE void horizontal_group(const float* line, const AxisFilter& filter, std::int64_t begin, const float* scale,
                                  const float* bias, float* const* planes, std::int64_t step) {
  Float4 sum[kGroup] = {};
  filter_pixels<kChannels, kGroup>(line, filter, begin, sum);
#pragma GCC unroll 4
  for (int j = 0; j < kGroup; ++j) {
#pragma GCC unroll 3
    for (int c = 0; c < 3; ++c) planes[c][(begin + j) * step] = sum[j][c] * scale[c] + bias[c];
  }
}

// The same for packed pixels: stores four floats per pixel, the last of which the next pixel overwrites.
template <std::int64_t kChannels, int kGroup, bool kReversed>
PVLR_INLINE void packed_group(const float* line, const AxisFilter& filter, std::int64_t begin, Float4 scale,
                              Float4 bias, float* pixels) {
  Float4 sum[kGroup] = {};
  filter_pixels<kChannels, kGroup>(line, filter, begin, sum);
#pragma GCC unroll 4
  for (int j = 0; j < kGroup; ++j) {
    Float4 value = sum[j] * scale + bias;
    if constexpr (kReversed) value = Float4{value[2], value[1], value[0], value[3]};
    std::memcpy(pixels + (begin + j) * 3, &value, sizeof value);
  }
}

template <std::int64_t kChannels, bool kReversed>
PVLR_INLINE std::int64_t packed_body(const float* line, const AxisFilter& filter, const float* scale, const float* bias,
                                     float* pixels) {
  const Float4 scales = {scale[0], scale[1], scale[2], 0.0F};
  const Float4 biases = {bias[0], bias[1], bias[2], 0.0F};
  std::int64_t i = 0;
  for (; i + 4 < filter.size(); i += 4) packed_group<kChannels, 4, kReversed>(line, filter, i, scales, biases, pixels);
  return i;
}

template <std::int64_t kChannels>
PVLR_INLINE void horizontal_body(const float* line, const AxisFilter& filter, const float* scale, const float* bias,
                                 float* const* planes, std::int64_t step) {
  const std::int64_t width = filter.size();
  std::int64_t i = 0;
  if (step == 3) {
    i = planes[0] < planes[2] ? packed_body<kChannels, false>(line, filter, scale, bias, planes[0])
                              : packed_body<kChannels, true>(line, filter, scale, bias, planes[2]);
  }
  for (; i + 4 <= width; i += 4) horizontal_group<kChannels, 4>(line, filter, i, scale, bias, planes, step);
  for (; i < width; ++i) horizontal_group<kChannels, 1>(line, filter, i, scale, bias, planes, step);
}

PVLR_INLINE std::uint32_t clip(std::int32_t fixed_point) {
  return static_cast<std::uint32_t>(std::min(std::max(fixed_point >> kYuvShift, 0), 255));
}

PVLR_INLINE void nv12_body(const std::uint8_t* luma, const std::uint8_t* chroma, std::int64_t pairs,
                           const YuvCoefficients k, std::uint8_t* rgbx) {
  constexpr std::int32_t kHalf = 1 << (kYuvShift - 1);
  constexpr std::int64_t kPairs = 32;  // short arrays and simple loops, which compilers turn into vector code
  for (std::int64_t begin = 0; begin < pairs; begin += kPairs) {
    const std::int64_t count = 2 * std::min(kPairs, pairs - begin);
    const std::uint8_t* y = luma + 2 * begin;
    const std::uint8_t* uv = chroma + 2 * begin;
    std::int32_t red[2 * kPairs];
    std::int32_t green[2 * kPairs];
    std::int32_t blue[2 * kPairs];
    std::uint32_t pixels[2 * kPairs];
    for (std::int64_t x = 0; x < count; x += 2) {
      const std::int32_t u = uv[x] - 128;
      const std::int32_t v = uv[x + 1] - 128;
      red[x] = red[x + 1] = kHalf + k.red_v * v;
      green[x] = green[x + 1] = kHalf + k.green_v * v + k.green_u * u;
      blue[x] = blue[x + 1] = kHalf + k.blue_u * u;
    }
    for (std::int64_t x = 0; x < count; ++x) {
      const std::int32_t light = std::max(0, y[x] - k.black) * k.luma;
      pixels[x] = clip(light + red[x]) | clip(light + green[x]) << 8 | clip(light + blue[x]) << 16;
    }
    // Little endian, like all supported platforms.
    std::memcpy(rgbx + 8 * begin, pixels, static_cast<std::size_t>(count) * sizeof(std::uint32_t));
  }
}

// Constant coefficients make the most common case 10% faster.
PVLR_INLINE void nv12_any(const std::uint8_t* luma, const std::uint8_t* chroma, std::int64_t pairs, YuvMatrix matrix,
                          YuvRange range, std::uint8_t* rgbx) {
  constexpr YuvCoefficients kUsual = yuv_coefficients(YuvMatrix::kBt601, YuvRange::kLimited);
  if (matrix == YuvMatrix::kBt601 && range == YuvRange::kLimited) return nv12_body(luma, chroma, pairs, kUsual, rgbx);
  nv12_body(luma, chroma, pairs, yuv_coefficients(matrix, range), rgbx);
}

// The passes of one instruction set. `vertical` is written for each: compilers vectorise the conversion of bytes
// poorly.
#define PVLR_PASSES(name, target)                                                                              \
  template <std::int64_t kChannels>                                                                            \
  target void horizontal(const float* line, const AxisFilter& filter, const float* scale, const float* bias,   \
                         float* const* planes, std::int64_t step) {                                            \
    horizontal_body<kChannels>(line, filter, scale, bias, planes, step);                                       \
  }                                                                                                            \
  target void nv12(const std::uint8_t* luma, const std::uint8_t* chroma, std::int64_t pairs, YuvMatrix matrix, \
                   YuvRange range, std::uint8_t* rgbx) {                                                       \
    nv12_any(luma, chroma, pairs, matrix, range, rgbx);                                                        \
  }                                                                                                            \
  constexpr Passes passes = {#name, nv12, vertical, horizontal<1>, horizontal<3>, horizontal<4>};

namespace portable {

void vertical(const std::uint8_t* const* rows, const float* weights, std::int64_t taps, std::int64_t n, float* out) {
  constexpr std::int64_t kChunk = 64;
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
  vertical_rest(rows, weights, taps, x, n, out);
}

PVLR_PASSES(portable, )

}  // namespace portable

#if PVLR_DISPATCH

namespace avx2 {

PVLR_AVX2 inline __m256 widen(const std::uint8_t* bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes))));
}

PVLR_AVX2 void vertical(const std::uint8_t* const* rows, const float* weights, std::int64_t taps, std::int64_t n,
                        float* out) {
  std::int64_t x = 0;
  for (; x + 32 <= n; x += 32) {
    __m256 sum[4] = {};
    for (std::int64_t k = 0; k < taps; ++k) {
      const __m256 weight = _mm256_set1_ps(weights[k]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum[j] = _mm256_fmadd_ps(weight, widen(rows[k] + x + 8 * j), sum[j]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) _mm256_storeu_ps(out + x + 8 * j, sum[j]);
  }
  vertical_rest(rows, weights, taps, x, n, out);
}

PVLR_PASSES(avx2, PVLR_AVX2)

}  // namespace avx2

namespace avx512 {

PVLR_AVX512 inline __m512 widen(const std::uint8_t* bytes) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))));
}

PVLR_AVX512 void vertical(const std::uint8_t* const* rows, const float* weights, std::int64_t taps, std::int64_t n,
                          float* out) {
  std::int64_t x = 0;
  for (; x + 64 <= n; x += 64) {
    __m512 sum[4] = {};
    for (std::int64_t k = 0; k < taps; ++k) {
      const __m512 weight = _mm512_set1_ps(weights[k]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum[j] = _mm512_fmadd_ps(weight, widen(rows[k] + x + 16 * j), sum[j]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) _mm512_storeu_ps(out + x + 16 * j, sum[j]);
  }
  vertical_rest(rows, weights, taps, x, n, out);
}

PVLR_PASSES(avx512, PVLR_AVX512)

}  // namespace avx512

#endif  // PVLR_DISPATCH

std::vector<Passes> find_supported() {
  std::vector<Passes> found;
#if PVLR_DISPATCH
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && has_avx2;
  if (has_avx512) found.push_back(avx512::passes);
  if (has_avx2) found.push_back(avx2::passes);
#endif
  found.push_back(portable::passes);
  return found;
}

}  // namespace

const std::vector<Passes>& supported_passes() {
  static const std::vector<Passes> passes = find_supported();
  return passes;
}

}  // namespace pvlr
