// Sums the partial rows of several splits, in the order of the splits, and divides by the weights.
#pragma once

#include <type_traits>

#include "work.cuh"

namespace pvlr::device {

constexpr int kMergeThreads = 128;

// The exponential of the kernel for T: on tensor cores, maxima are in units of log2.
template <typename T>
__device__ __forceinline__ float power(float exponent) {
  if constexpr (std::is_same_v<T, float>) {
    return expf(exponent);
  } else {
    return exp2f(exponent);
  }
}

// One warp for each row of o_x (if its sums are split), then of o_t (the same).
template <typename T, int kDim>
__global__ void __launch_bounds__(kMergeThreads) merge_attention(const AttentionArguments a) {
  const DualSoftmaxAttentionParams& p = a.params;
  const std::int64_t entries = p.batch * p.heads;
  const std::int64_t token_rows = a.plan.label_splits > 1 ? entries * p.tokens : 0;
  const std::int64_t label_rows = a.plan.token_splits > 1 ? entries * p.labels : 0;
  const int lane = static_cast<int>(threadIdx.x % 32);
  std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kMergeThreads / 32) + threadIdx.x / 32;
  if (row >= token_rows + label_rows) return;
  const bool of_token = row < token_rows;
  if (!of_token) row -= token_rows;

  const PartialRows& state = of_token ? a.token_state : a.label_state;
  const int splits = of_token ? a.plan.label_splits : a.plan.token_splits;
  const std::int64_t size = of_token ? p.tokens : p.labels;
  const std::int64_t padded = of_token ? padded_tokens(a.plan) : p.labels;
  const std::int64_t first = row / size * padded + row % size;  // of the first split
  float largest = -INFINITY;
  for (int split = 0; split < splits; ++split) {
    largest = fmaxf(largest, state.references[split * entries * padded + first]);
  }
  const float subtracted = finite_maximum(largest);

  float sums[kDim / 32] = {};
  float weight = 0.0F;
  for (int split = 0; split < splits; ++split) {
    const std::int64_t part = split * entries * padded + first;
    const float factor = power<T>(state.references[part] - subtracted);
    weight += state.weights[part] * factor;
#pragma unroll
    for (int i = 0; i < kDim / 32; ++i) sums[i] += state.sums[part * kDim + i * 32 + lane] * factor;
  }

  const int entry = static_cast<int>(row / size);
  const int batch = entry / static_cast<int>(p.heads);
  const int head = entry % static_cast<int>(p.heads);
  const Rows<T> out =
      of_token ? rows_of<T>(p.o_x, p.o_x_strides, batch, head) : rows_of<T>(p.o_t, p.o_t_strides, batch, head);
  T* const to = out[static_cast<int>(row % size)];
  const float inverse = inverse_or_zero(weight);
#pragma unroll
  for (int i = 0; i < kDim / 32; ++i) to[i * 32 + lane] = static_cast<T>(sums[i] * inverse);
}

}  // namespace pvlr::device
