// Dual-softmax attention on tensor cores: what happens to one tile of tokens, and the kernel.
#pragma once

#include "dual_softmax_attention_block.cuh"

namespace pvlr::device {

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::compute_scores(const T* queries, int first_token,
                                                                    TileScores& scores) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[m][j][i] = 0.0F;
    }
  }
  const T* row = queries + (lane_ / 16 * 8 + lane_ % 8) * Shape::kStride + lane_ / 8 % 2 * 8;
#pragma unroll
  for (int k = 0; k < Shape::kDim / 16; ++k) {
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
      std::uint32_t b[4];
      ldmatrix_x4(b, row + j * 8 * Shape::kStride + k * 16);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_m16n8k16<T>(scores[m][j], keys_[m][k], b[0], b[1]);
        mma_m16n8k16<T>(scores[m][j + 1], keys_[m][k], b[2], b[3]);
      }
    }
  }
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool inside = first_token + j * 8 + 2 * t_ + i % 2 < tokens_;
        if (!inside || (takes_part_ >> (2 * m + i / 2) & 1U) == 0) scores[m][j][i] = -INFINITY;
      }
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::add_to_labels(const T* values, const TileScores& scores) {
  std::uint32_t weights[kM][2][4];  // m-tile, 16 tokens: the left operand of weights times values
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    float rescale[2];
    float subtracted[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = scores[m][0][2 * half];
#pragma unroll
      for (int j = 0; j < 4; ++j) largest = fmaxf(largest, fmaxf(scores[m][j][2 * half], scores[m][j][2 * half + 1]));
      largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
      const float maximum = fmaxf(maximum_[m][half], largest * scale_);
      subtracted[half] = finite_maximum(maximum);
      rescale[half] = exp2_approx(maximum_[m][half] - subtracted[half]);
      maximum_[m][half] = maximum;
      weight_[m][half] *= rescale[half];
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float first = exp2_approx(fmaf(scores[m][j][2 * half], scale_, -subtracted[half]));
        const float second = exp2_approx(fmaf(scores[m][j][2 * half + 1], scale_, -subtracted[half]));
        weight_[m][half] += first + second;
        weights[m][j / 2][j % 2 * 2 + half] = pack<T>(first, second);
      }
    }
#pragma unroll
    for (int d = 0; d < Shape::kDimBlocks; ++d) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums_[m][d][i] *= rescale[i / 2];
    }
  }
  const T* row = values + lane_ % 16 * Shape::kStride + lane_ / 16 * 8;
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int d = 0; d < Shape::kDimBlocks; d += 2) {
      std::uint32_t b[4];
      ldmatrix_x4_trans(b, row + k * 16 * Shape::kStride + d * 8);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_m16n8k16<T>(sums_[m][d], weights[m][k], b[0], b[1]);
        mma_m16n8k16<T>(sums_[m][d + 1], weights[m][k], b[2], b[3]);
      }
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::share_weights(const TileScores& scores, float maximum) {
  float totals[8];
  T* const to = shared_ + Shape::kKeys + (warp_ * kM * 16 + g_) * Shape::kWeightStride + 2 * t_;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float first_maximum = __shfl_sync(kFullWarp, maximum, j * 8 + 2 * t_);
    const float second_maximum = __shfl_sync(kFullWarp, maximum, j * 8 + 2 * t_ + 1);
    totals[2 * j] = 0.0F;
    totals[2 * j + 1] = 0.0F;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float first = exp2_approx(fmaf(scores[m][j][2 * half], scale_, -first_maximum));
        const float second = exp2_approx(fmaf(scores[m][j][2 * half + 1], scale_, -second_maximum));
        totals[2 * j] += first;
        totals[2 * j + 1] += second;
        T* const pair = to + (m * 16 + half * 8) * Shape::kWeightStride + j * 8;
        *reinterpret_cast<std::uint32_t*>(pair) = pack<T>(first, second);
      }
    }
  }
  const float total = combine_labels(totals, Sum{});
  exchange_[(Shape::kWarps + warp_) * kTokensPerTile + combined_token()] = total;
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::multiply_label_values(float (&sums)[kOwn][4]) {
  const T* weights =
      shared_ + Shape::kKeys + (lane_ / 16 * 8 + lane_ % 8) * Shape::kWeightStride + warp_ % 2 * 16 + lane_ / 8 % 2 * 8;
  const T* values = shared_ + Shape::kLabelValues + lane_ * Shape::kStride + warp_ / 2 * kOwn * 8;
  [[maybe_unused]] constexpr int kUnroll = kOwn < 8 ? 2 : 1;
#pragma unroll kUnroll
  for (int c = 0; c < Shape::kColumns; c += 32) {
    std::uint32_t a[2][4];
    ldmatrix_x4_trans(a[0], weights + c * Shape::kWeightStride);
    ldmatrix_x4_trans(a[1], weights + (c + 16) * Shape::kWeightStride);
#pragma unroll
    for (int d = 0; d < kOwn; ++d) {
      std::uint32_t b[4];
      ldmatrix_x4_trans(b, values + c * Shape::kStride + d * 8);
      mma_m16n8k16<T>(sums[d], a[0], b[0], b[1]);
      mma_m16n8k16<T>(sums[d], a[1], b[2], b[3]);
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::load_token_sums(const PartialRows& state, int first_token,
                                                                     float (&sums)[kOwn][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int token = first_token + own_row() + half * 8;
    const float* row = state.sums + static_cast<std::int64_t>(token) * Shape::kDim + own_column();
#pragma unroll
    for (int d = 0; d < kOwn; ++d) {
      const float2 pair = token < tokens_ ? *reinterpret_cast<const float2*>(row + d * 8) : float2{0.0F, 0.0F};
      sums[d][2 * half] = pair.x;
      sums[d][2 * half + 1] = pair.y;
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::store_token_sums(const PartialRows& state, int first_token,
                                                                      const float (&sums)[kOwn][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int token = first_token + own_row() + half * 8;
    if (token >= tokens_) continue;
    float* const row = state.sums + static_cast<std::int64_t>(token) * Shape::kDim + own_column();
#pragma unroll
    for (int d = 0; d < kOwn; ++d) {
      *reinterpret_cast<float2*>(row + d * 8) = float2{sums[d][2 * half], sums[d][2 * half + 1]};
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::store_tokens(float weight, int first_token,
                                                                  const float (&sums)[kOwn][4]) {
  const DualSoftmaxAttentionParams& p = arguments_.params;
  const Rows<T> out = output_rows<T>(p.o_x, p.o_x_strides, share_.batch, share_.head);
  const float inverse = inverse_or_zero(weight);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float factor = __shfl_sync(kFullWarp, inverse, own_row() + half * 8);
    const int token = first_token + own_row() + half * 8;
    if (token >= tokens_) continue;
    T* const row = out[token] + own_column();
#pragma unroll
    for (int d = 0; d < kOwn; ++d) {
      *reinterpret_cast<std::uint32_t*>(row + d * 8) =
          pack<T>(sums[d][2 * half] * factor, sums[d][2 * half + 1] * factor);
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void MmaAttention<Shape>::process_tile(int block, int tile) {
  const int first_token = tile * kTokensPerTile;
  const bool begins = block == share_.block_begin;
  const bool ends = block + 1 == share_.block_end && arguments_.plan.label_splits == 1;
  const PartialRows state =
      partial_rows(arguments_.token_state, share_.label_split, arguments_, share_.entry, arguments_.params.tokens);
  const T* const queries = tile_memory(tile);
  TileScores scores;
  compute_scores(queries, first_token, scores);

  float largest[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    largest[i] = -INFINITY;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      largest[i] = fmaxf(largest[i], fmaxf(scores[m][i / 2][i % 2], scores[m][i / 2][2 + i % 2]));
    }
  }
  exchange_[warp_ * kTokensPerTile + combined_token()] = combine_labels(largest, Larger{});
  add_to_labels(queries + kTokensPerTile * Shape::kStride, scores);  // hides the wait for the other warps

  // What earlier label blocks gave: lane i has the state of token i.
  const int token = first_token + lane_;
  const bool known = !begins && token < tokens_;
  const float old_maximum = known ? state.maxima[token] : -INFINITY;
  const float old_weight = known ? state.weights[token] : 0.0F;
  float sums[kOwn][4] = {};
  // Early, to hide the latency, unless that takes more registers than there are.
  constexpr bool kEarly = kOwn < 8;
  if (kEarly && !begins) load_token_sums(state, first_token, sums);
  __syncthreads();
  // All warps are through with the tile's queries and values.
  if (Shape::kStages == 1 && tile + 1 < share_.tile_end) stage_tile(tile + 1);

  float maximum = old_maximum;
#pragma unroll
  for (int w = 0; w < Shape::kWarps; ++w) maximum = fmaxf(maximum, exchanged(0, w) * scale_);
  const float subtracted = finite_maximum(maximum);
  const float rescale = exp2_approx(old_maximum - subtracted);
  share_weights(scores, subtracted);
  if (!kEarly && !begins) load_token_sums(state, first_token, sums);
  __syncthreads();

  float weight = old_weight * rescale;
#pragma unroll
  for (int w = 0; w < Shape::kWarps; ++w) weight += exchanged(1, w);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float factor = __shfl_sync(kFullWarp, rescale, own_row() + half * 8);
#pragma unroll
    for (int d = 0; d < kOwn; ++d) {
      sums[d][2 * half] *= factor;
      sums[d][2 * half + 1] *= factor;
    }
  }
  multiply_label_values(sums);
  if (ends) {
    store_tokens(weight, first_token, sums);
    return;
  }
  store_token_sums(state, first_token, sums);
  if (warp_ == 0 && token < tokens_) {
    state.maxima[token] = maximum;
    state.weights[token] = weight;
  }
}

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1) mma_attention(const AttentionArguments arguments) {
#if PVLR_TURING
  if constexpr (Shape::kSharedBytes > kTuringSharedBytes)
    return;  // is never launched there: don't compile it
  else
#endif
  {
    PVLR_DYNAMIC_SHARED(shared);
    MmaAttention<Shape>(arguments, shared).run();
  }
}

}  // namespace pvlr::device
