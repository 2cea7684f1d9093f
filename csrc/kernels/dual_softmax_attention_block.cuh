// Dual-softmax attention on tensor cores: beginning and end of a label block.
#pragma once

#include "dual_softmax_attention_mma.cuh"

namespace pvlr::device {

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::start_block(int block) {
  const DualSoftmaxAttentionParams& p = arguments_.params;
  const int first = block * Shape::kColumns;
  const Rows<const T> keys = input_rows<T>(p.k_t, p.k_t_strides, share_.batch, share_.head);
  const Rows<const T> values = input_rows<T>(p.v_t, p.v_t_strides, share_.batch, share_.head);
  stage_rows<Shape>(shared_ + Shape::kKeys, keys, first, labels_, Shape::kColumns);
  stage_rows<Shape>(shared_ + Shape::kLabelValues, values, first, labels_, Shape::kColumns);
  stage_tile(share_.tile_begin);

  takes_part_ = 0;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      maximum_[m][half] = -INFINITY;
      weight_[m][half] = 0.0F;
      const bool takes_part = label_takes_part(p, share_.batch, first_label(block) + m * 16 + half * 8 + g_);
      takes_part_ |= (takes_part ? 1U : 0U) << (2 * m + half);
    }
#pragma unroll
    for (int d = 0; d < Shape::kDimBlocks; ++d) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums_[m][d][i] = 0.0F;
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::stage_tile(int tile) {
  const DualSoftmaxAttentionParams& p = arguments_.params;
  const Rows<const T> queries = input_rows<T>(p.q_x, p.q_x_strides, share_.batch, share_.head);
  const Rows<const T> values = input_rows<T>(p.v_x, p.v_x_strides, share_.batch, share_.head);
  T* memory = tile_memory(tile);
  const int first = tile * kTokensPerTile;
  stage_rows<Shape>(memory, queries, first, tokens_, kTokensPerTile);
  stage_rows<Shape>(memory + kTokensPerTile * Shape::kStride, values, first, tokens_, kTokensPerTile);
  copy_async_commit();
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::load_keys() {
  const T* row = shared_ + Shape::kKeys + (warp_ * kM * 16 + lane_ % 16) * Shape::kStride + lane_ / 16 * 8;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int k = 0; k < Shape::kDim / 16; ++k) ldmatrix_x4(keys_[m][k], row + m * 16 * Shape::kStride + k * 16);
  }
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::finish_block(int block) {
  const DualSoftmaxAttentionParams& p = arguments_.params;
  const bool whole = arguments_.plan.token_splits == 1;
  const Rows<T> out = output_rows<T>(p.o_t, p.o_t_strides, share_.batch, share_.head);
  const PartialRows partial =
      partial_rows(arguments_.label_state, share_.token_split, arguments_, share_.entry, p.labels);
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = weight_[m][half];
      sum += __shfl_xor_sync(kFullWarp, sum, 1);
      sum += __shfl_xor_sync(kFullWarp, sum, 2);
      const int label = first_label(block) + m * 16 + half * 8 + g_;
      if (label >= labels_) continue;
      if (whole) {
        const float factor = inverse_or_zero(sum);
#pragma unroll
        for (int d = 0; d < Shape::kDimBlocks; ++d) {
          const float* pair = &sums_[m][d][2 * half];
          *reinterpret_cast<std::uint32_t*>(out[label] + d * 8 + 2 * t_) = pack<T>(pair[0] * factor, pair[1] * factor);
        }
      } else {
        float* row = partial.sums + static_cast<std::int64_t>(label) * Shape::kDim;
#pragma unroll
        for (int d = 0; d < Shape::kDimBlocks; ++d) {
          const float* pair = &sums_[m][d][2 * half];
          *reinterpret_cast<float2*>(row + d * 8 + 2 * t_) = float2{pair[0], pair[1]};
        }
        if (t_ == 0) {
          partial.maxima[label] = maximum_[m][half];
          partial.weights[label] = sum;
        }
      }
    }
  }
}

}  // namespace pvlr::device
