// The tag head: from similarities in shared memory to logits, scores, tags and attention maps.
#pragma once

#include "shape.cuh"

namespace pvlr::device {

// A running softmax over some of a label's tokens.
struct Pool {
  float maximum = -INFINITY;  // of the exponents
  float weight = 0.0F;
  float sum = 0.0F;  // of weights times similarities
};

// Exponents are alpha times similarity; on tensor cores in units of log2.
template <typename T>
__device__ __forceinline__ float exponent_factor(float alpha) {
  return std::is_same_v<T, float> ? alpha : alpha * kLog2E;
}
template <typename T>
__device__ __forceinline__ float exponential(float exponent) {
  if constexpr (std::is_same_v<T, float>) {
    return expf(exponent);
  } else {
    return exp2_approx(exponent);
  }
}

// A maximum to subtract: -infinity would give NaN.
__device__ __forceinline__ float subtracted(float maximum) { return maximum == -INFINITY ? 0.0F : maximum; }

// The first `count` tokens of a tile: this thread's label and tokens.
template <typename Shape>
__device__ __forceinline__ void pool_tile(const float* scores, int count, float sharpness, Pool& pool) {
  const float* const own = scores + static_cast<int>(threadIdx.x) % Shape::kColumns;
  const int first = static_cast<int>(threadIdx.x) / Shape::kColumns;
  float maximum = pool.maximum;
  for (int n = first; n < count; n += Shape::kParts) maximum = fmaxf(maximum, own[n * Shape::kScoreStride] * sharpness);
  float weight = 0.0F;
  float sum = 0.0F;
  for (int n = first; n < count; n += Shape::kParts) {
    const float similarity = own[n * Shape::kScoreStride];
    const float w = exponential<typename Shape::Type>(fmaf(similarity, sharpness, -subtracted(maximum)));
    weight += w;
    sum = fmaf(w, similarity, sum);
  }
  const float rescale = exponential<typename Shape::Type>(pool.maximum - subtracted(maximum));
  pool = {maximum, fmaf(pool.weight, rescale, weight), fmaf(pool.sum, rescale, sum)};
}

// Merges the pools of the threads that share a label, always in the same order.
template <typename Shape>
__device__ __forceinline__ Pool merge_pools(const Pool* pools, int column) {
  Pool whole;
  for (int part = 0; part < Shape::kParts; ++part) {
    whole.maximum = fmaxf(whole.maximum, pools[part * Shape::kColumns + column].maximum);
  }
  for (int part = 0; part < Shape::kParts; ++part) {
    const Pool& one = pools[part * Shape::kColumns + column];
    const float rescale = exponential<typename Shape::Type>(one.maximum - subtracted(whole.maximum));
    whole.weight = fmaf(one.weight, rescale, whole.weight);
    whole.sum = fmaf(one.sum, rescale, whole.sum);
  }
  return whole;
}

// Does not overflow; NaN for NaN.
__device__ __forceinline__ float sigmoid(float x) {
  const float small = expf(-fabsf(x));
  return (x >= 0.0F ? 1.0F : small) / (1.0F + small);
}

__device__ __forceinline__ void store_label(const TagHeadParams& p, int batch, int label, const Pool& pool) {
  const std::int64_t at = batch * p.labels + label;
  const float logit = pool.sum / pool.weight + (p.bias == nullptr ? 0.0F : p.bias[label]);
  const float score = sigmoid(logit);
  p.logits[at] = logit;
  if (p.scores != nullptr) p.scores[at] = score;
  if (p.tags != nullptr) p.tags[at] = score >= p.thresholds[label] ? 1 : 0;
  if (p.nonfinite != nullptr) p.nonfinite[at] = fabsf(logit) < INFINITY ? 0 : 1;
}

// Calls action(column, to) for each map of this block's labels; `to` is the start of the image's map. A map always
// belongs to the same warp.
template <typename Shape, typename Action>
__device__ __forceinline__ void for_own_maps(const TagHeadParams& p, int batch, int first_label, Action action) {
  if (p.maps == nullptr) return;
  const auto count = static_cast<int>(p.maps_count);
  const int last_label = min(first_label + Shape::kColumns, static_cast<int>(p.labels));
  const int begin = p.chosen == nullptr ? first_label : 0;
  const int end = p.chosen == nullptr ? min(last_label, count) : count;
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int first = begin + static_cast<int>(threadIdx.x) / 32 * 32; first < end; first += Shape::kThreads) {
    const int map = first + lane;
    const int label = map >= end ? -1 : p.chosen == nullptr ? map : p.chosen[map];
    const unsigned own = __ballot_sync(kFullWarp, label >= first_label && label < last_label);
    for (int i = 0; i < 32; ++i) {
      if ((own >> i & 1U) == 0) continue;
      const int column = __shfl_sync(kFullWarp, label, i) - first_label;
      action(column, p.maps + batch * p.maps_batch_stride + (first + i) * p.maps_label_stride);
    }
  }
}

// Similarities of a tile.
template <typename Shape>
__device__ __forceinline__ void store_map_tile(const TagHeadParams& p, int batch, int first_label, int first_token,
                                               int count, const float* scores) {
  for_own_maps<Shape>(p, batch, first_label, [&](int column, float* to) {
    for (int n = static_cast<int>(threadIdx.x % 32); n < count; n += 32) {
      to[(first_token + n) * p.maps_token_stride] = scores[n * Shape::kScoreStride + column];
    }
  });
}

// Converts similarities to weights, each in the lane that wrote it.
template <typename Shape>
__device__ __forceinline__ void finish_maps(const TagHeadParams& p, int batch, int first_label, float sharpness,
                                            const Pool* wholes) {
  if (p.maps_kind != TagHeadMap::kWeights) return;
  for_own_maps<Shape>(p, batch, first_label, [&](int column, float* to) {
    const Pool whole = wholes[column];
    for (int n = static_cast<int>(threadIdx.x % 32); n < static_cast<int>(p.tokens); n += 32) {
      float& value = to[n * p.maps_token_stride];
      const float exponent = fmaf(value, sharpness, -subtracted(whole.maximum));
      value = exponential<typename Shape::Type>(exponent) / whole.weight;
    }
  });
}

}  // namespace pvlr::device
