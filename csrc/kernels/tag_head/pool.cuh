// The tag head: from similarities in shared memory to logits, scores and tags.
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

// Adds similarities of this thread's label: get(i) for i below count. kMost: unrolled that often, 0 for any count.
template <typename T, int kMost, typename Get>
__device__ __forceinline__ void add_to_pool(Get get, int count, float sharpness, Pool& pool) {
  [[maybe_unused]] constexpr int kUnroll = kMost == 0 ? 1 : kMost;
  float maximum = pool.maximum;
#pragma unroll kUnroll
  for (int i = 0; i < count; ++i) maximum = fmaxf(maximum, get(i) * sharpness);
  float weight = 0.0F;
  float sum = 0.0F;
#pragma unroll kUnroll
  for (int i = 0; i < count; ++i) {
    const float similarity = get(i);
    const float w = exponential<T>(fmaf(similarity, sharpness, -subtracted(maximum)));
    weight += w;
    sum = fmaf(w, similarity, sum);
  }
  const float rescale = exponential<T>(pool.maximum - subtracted(maximum));
  pool = {maximum, fmaf(pool.weight, rescale, weight), fmaf(pool.sum, rescale, sum)};
}

// The first `count` tokens of a tile: this thread's label and tokens.
template <typename Shape>
__device__ __forceinline__ void pool_tile(const float* scores, int count, float sharpness, Pool& pool) {
  constexpr int kOwn = Shape::kRows / Shape::kParts;
  const int column = static_cast<int>(threadIdx.x) % Shape::kColumns;
  const int first = static_cast<int>(threadIdx.x) / Shape::kColumns;
  const auto get = [&](int i) { return scores[Shape::score_index(first + i * Shape::kParts, column)]; };
  if (count == Shape::kRows) {
    // Blocks that normalise have fewer registers left.
    add_to_pool<typename Shape::Type, Shape::kPlain ? kOwn : 1>(get, kOwn, sharpness, pool);
  } else {
    const int own = (count - first + Shape::kParts - 1) / Shape::kParts;
    add_to_pool<typename Shape::Type, 0>(get, own, sharpness, pool);
  }
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

}  // namespace pvlr::device
