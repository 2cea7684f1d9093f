// Dual-softmax attention in float32: the products with the values, and the kernel.
#pragma once

#include "fp32_softmax.cuh"

namespace pvlr::device {

// Adds the tile to o_t: this thread's 4 labels and kOwnDims dimensions.
template <typename Shape>
__device__ __forceinline__ void fp32_add_to_labels(const float* shared, const Rows<const float>& values,
                                                   int first_token, int tokens, float (&sums)[4][Shape::kOwnDims]) {
  const int label = static_cast<int>(threadIdx.x) % Shape::kLabelGroups * 4;
  const int dim = static_cast<int>(threadIdx.x) / Shape::kLabelGroups * Shape::kOwnDims;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float rescale = shared[Shape::kLabelState + label + i];
#pragma unroll
    for (int d = 0; d < Shape::kOwnDims; ++d) sums[i][d] *= rescale;
  }
  const int count = min(kTokensPerTile, tokens - first_token);
  for (int n = 0; n < count; ++n) {
    const auto w = *reinterpret_cast<const float4*>(shared + Shape::kTokenWeights + n * Shape::kScoreStride + label);
    const float* row = values[first_token + n] + dim;
#pragma unroll
    for (int d = 0; d < Shape::kOwnDims; ++d) {
      const float value = row[d];
      sums[0][d] = fmaf(w.x, value, sums[0][d]);
      sums[1][d] = fmaf(w.y, value, sums[1][d]);
      sums[2][d] = fmaf(w.z, value, sums[2][d]);
      sums[3][d] = fmaf(w.w, value, sums[3][d]);
    }
  }
}

// Adds the block's labels to the tile's o_x: this thread's 4 tokens and kTokenDims dimensions.
template <typename Shape>
__device__ __forceinline__ void fp32_add_to_tokens(const AttentionArguments& a, const Share& share, const float* shared,
                                                   const PartialRows& state, int block, int first_token) {
  const DualSoftmaxAttentionParams& p = a.params;
  const bool begins = block == share.block_begin;
  const bool ends = block + 1 == share.block_end && a.plan.label_splits == 1;
  const Rows<const float> values = rows_of<const float>(p.v_t, p.v_t_strides, share.batch, share.head);
  const Rows<float> out = rows_of<float>(p.o_x, p.o_x_strides, share.batch, share.head);
  const int row = static_cast<int>(threadIdx.x) / 16 * 4;
  const int dim = static_cast<int>(threadIdx.x) % 16 * Shape::kTokenDims;
  const int first_label = block * Shape::kColumns;
  const int count = min(Shape::kColumns, static_cast<int>(p.labels) - first_label);

  float sums[4][Shape::kTokenDims] = {};
  for (int c = 0; c < count; ++c) {
    const float* value = values[first_label + c] + dim;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float weight = shared[Shape::kLabelWeights + (row + i) * Shape::kScoreStride + c];
#pragma unroll
      for (int d = 0; d < Shape::kTokenDims; ++d) sums[i][d] = fmaf(weight, value[d], sums[i][d]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int token = first_token + row + i;
    if (token >= p.tokens) continue;
    const float rescale = shared[Shape::kTokenState + row + i];
    const float inverse = shared[Shape::kTokenState + kTokensPerTile + row + i];
    float* const partial = state.sums + static_cast<std::int64_t>(token) * Shape::kDim + dim;
#pragma unroll
    for (int d = 0; d < Shape::kTokenDims; ++d) {
      const float sum = begins ? sums[i][d] : fmaf(partial[d], rescale, sums[i][d]);
      if (ends) {
        out[token][dim + d] = sum * inverse;
      } else {
        partial[d] = sum;
      }
    }
  }
}

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1) fp32_attention(const AttentionArguments a) {
  PVLR_DYNAMIC_SHARED(memory);
  auto* const shared = reinterpret_cast<float*>(memory);
  const DualSoftmaxAttentionParams& p = a.params;
  const Share share = find_share(a);
  const int tokens = static_cast<int>(p.tokens);
  const int labels = static_cast<int>(p.labels);
  const Rows<const float> queries = rows_of<const float>(p.q_x, p.q_x_strides, share.batch, share.head);
  const Rows<const float> values = rows_of<const float>(p.v_x, p.v_x_strides, share.batch, share.head);
  const Rows<const float> keys = rows_of<const float>(p.k_t, p.k_t_strides, share.batch, share.head);
  const Rows<float> out = rows_of<float>(p.o_t, p.o_t_strides, share.batch, share.head);
  const PartialRows token_state = partial_rows(a.token_state, share.label_split, a, share.entry, padded_tokens(a.plan));
  const PartialRows label_state = partial_rows(a.label_state, share.token_split, a, share.entry, p.labels);

  for (int block = share.block_begin; block < share.block_end; ++block) {
    const bool begins = block == share.block_begin;
    const bool ends = block + 1 == share.block_end && a.plan.label_splits == 1;
    const int first_label = block * Shape::kColumns;
    float sums[4][Shape::kOwnDims] = {};
    float maximum = -INFINITY;
    float weight = 0.0F;
    stage_fp32<Shape::kDim, Shape::kStride>(shared + Shape::kKeys, keys, first_label, labels, Shape::kColumns);
    for (int tile = share.tile_begin; tile < share.tile_end; ++tile) {
      const int first_token = tile * kTokensPerTile;
      stage_fp32<Shape::kDim, Shape::kStride>(shared + Shape::kQueries, queries, first_token, tokens, kTokensPerTile);
      __syncthreads();
      fp32_scores<Shape>(a, share, shared, block, first_token);
      __syncthreads();
      fp32_label_softmax<Shape>(shared, maximum, weight);
      __syncthreads();
      fp32_token_softmax<Shape>(shared, token_state, begins, ends, first_token, tokens);
      fp32_add_to_labels<Shape>(shared, values, first_token, tokens, sums);
      __syncthreads();
      fp32_add_to_tokens<Shape>(a, share, shared, token_state, block, first_token);
    }

    const bool whole = a.plan.token_splits == 1;
    const int own_label = static_cast<int>(threadIdx.x) % Shape::kLabelGroups * 4;
    const int dim = static_cast<int>(threadIdx.x) / Shape::kLabelGroups * Shape::kOwnDims;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int label = first_label + own_label + i;
      if (label >= labels) continue;
      const float factor = whole ? inverse_or_zero(shared[Shape::kLabelState + Shape::kColumns + own_label + i]) : 1.0F;
      float* const to =
          whole ? out[label] + dim : label_state.sums + static_cast<std::int64_t>(label) * Shape::kDim + dim;
#pragma unroll
      for (int d = 0; d < Shape::kOwnDims; ++d) to[d] = sums[i][d] * factor;
    }
    constexpr int kTeam = Shape::kThreads / Shape::kColumns;
    const int label = first_label + static_cast<int>(threadIdx.x) / kTeam;
    if (!whole && threadIdx.x % kTeam == 0 && label < labels) {
      label_state.references[label] = maximum;
      label_state.weights[label] = weight;
    }
  }
}

}  // namespace pvlr::device
