// Dual-softmax attention on tensor cores: the loops over label blocks and tiles of tokens, and the kernel.
#pragma once

#include "mma_labels.cuh"
#include "mma_tokens.cuh"

namespace pvlr::device {

template <typename Shape>
class MmaAttention {
  using T = typename Shape::Type;

 public:
  __device__ MmaAttention(const AttentionArguments& arguments, unsigned char* shared)
      : context_{arguments, reinterpret_cast<T*>(shared)} {}

  __device__ void run() {
    const Share& share = context_.share;
    for (int block = share.block_begin; block < share.block_end; ++block) {
      if (block != share.block_begin) __syncthreads();  // the last block's values are still being read
      labels_.start(context_, block);
      stage_tile(share.tile_begin);
      for (int tile = share.tile_begin; tile < share.tile_end; ++tile) {
        copy_async_wait<0>();
        __syncthreads();
        if (tile == share.tile_begin) labels_.load_keys(context_);
        if (Shape::kStages == 2 && tile + 1 < share.tile_end) stage_tile(tile + 1);
        process_tile(block, tile);
      }
      labels_.finish(context_, block);
    }
  }

 private:
  // Starts copying a tile's queries and values.
  __device__ __forceinline__ void stage_tile(int tile) {
    const MmaContext<Shape>& c = context_;
    const DualSoftmaxAttentionParams& p = c.arguments.params;
    const Rows<const T> queries = rows_of<const T>(p.q_x, p.q_x_strides, c.share.batch, c.share.head);
    const Rows<const T> values = rows_of<const T>(p.v_x, p.v_x_strides, c.share.batch, c.share.head);
    T* memory = c.tile_memory(tile);
    const int first = tile * kTokensPerTile;
    stage_rows<Shape>(memory, queries, first, c.tokens, kTokensPerTile);
    stage_rows<Shape>(memory + kTokensPerTile * Shape::kStride, values, first, c.tokens, kTokensPerTile);
    copy_async_commit();
  }

  __device__ __forceinline__ void process_tile(int block, int tile) {
    const MmaContext<Shape>& c = context_;
    const int first_token = tile * kTokensPerTile;
    const bool begins = block == c.share.block_begin;
    const bool ends = block + 1 == c.share.block_end && c.arguments.plan.label_splits == 1;
    const PartialRows state = partial_rows(c.arguments.token_state, c.share.label_split, c.arguments, c.share.entry,
                                           c.arguments.params.tokens);
    const T* const queries = c.tile_memory(tile);
    TileScores<Shape> scores = {};
    labels_.compute_scores(c, queries, first_token, scores);

    float largest[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      largest[i] = -INFINITY;
#pragma unroll
      for (int m = 0; m < Shape::kMTiles; ++m) {
        largest[i] = fmaxf(largest[i], fmaxf(scores[m][i / 2][i % 2], scores[m][i / 2][2 + i % 2]));
      }
    }
    c.exchange[c.warp * kTokensPerTile + c.combined_token()] = combine_labels(largest, Larger{});
    labels_.add_tile(c, queries + kTokensPerTile * Shape::kStride, scores);  // hides the wait for the other warps

    // The state after earlier label blocks: lane i has the state of token i.
    const int token = first_token + c.lane;
    const bool known = !begins && token < c.tokens;
    const float old_maximum = known ? state.maxima[token] : -INFINITY;
    const float old_weight = known ? state.weights[token] : 0.0F;
    MmaTokens<Shape> sums;
    // Early, to hide the latency, unless that takes too many registers.
    constexpr bool kEarly = Shape::kDimBlocksPerWarp < 8;
    if (kEarly && !begins) sums.load(c, state, first_token);
    __syncthreads();
    // All warps are done with the tile's queries and values.
    if (Shape::kStages == 1 && tile + 1 < c.share.tile_end) stage_tile(tile + 1);

    float maximum = old_maximum;
#pragma unroll
    for (int w = 0; w < Shape::kWarps; ++w) maximum = fmaxf(maximum, c.exchanged(0, w) * c.scale);
    const float subtracted = finite_maximum(maximum);
    const float rescale = exp2_approx(old_maximum - subtracted);
    share_weights(c, scores, subtracted);
    if (!kEarly && !begins) sums.load(c, state, first_token);
    __syncthreads();

    float weight = old_weight * rescale;
#pragma unroll
    for (int w = 0; w < Shape::kWarps; ++w) weight += c.exchanged(1, w);
    sums.rescale(c, rescale);
    sums.add_label_values(c);
    if (ends) {
      sums.finish(c, weight, first_token);
      return;
    }
    sums.store(c, state, first_token);
    if (c.warp == 0 && token < c.tokens) {
      state.maxima[token] = maximum;
      state.weights[token] = weight;
    }
  }

  const MmaContext<Shape> context_;
  MmaLabels<Shape> labels_;
};

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1) mma_attention(const AttentionArguments arguments) {
#if PVLR_TURING
  if constexpr (Shape::kSharedBytes > kTuringSharedBytes)
    return;  // never launched there, so not compiled
  else
#endif
  {
    PVLR_DYNAMIC_SHARED(shared);
    MmaAttention<Shape>(arguments, shared).run();
  }
}

}  // namespace pvlr::device
