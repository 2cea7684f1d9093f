// Dual-softmax attention on tensor cores: the loops over label blocks and tiles of tokens, and the kernel.
#pragma once

#include "mma_labels.cuh"
#include "mma_tokens.cuh"

namespace pvlr::device {

// Copies tiles of tokens to shared memory: queries, then values. The threads keep their addresses from tile to tile,
// unless these take too many registers.
template <typename Shape>
class MmaTiles {
  using T = typename Shape::Type;
  static constexpr bool kKeeps = Shape::kDim == 32 || (Shape::kCopies <= 4 && Shape::kMTiles == 1 && Shape::kDim < 128);

 public:
  // Before the copy of the first tile of a label block.
  __device__ __forceinline__ void start(const MmaContext<Shape>& c, int tile) {
    if constexpr (kKeeps) {
#pragma unroll
      for (int i = 0; i < Shape::kCopies; ++i) {
        const Rows<const T> rows = is_query(i) ? queries(c) : values(c);
        sources_[i] = rows[tile * kTokensPerTile + row(i)] + column(i);
      }
    }
  }

  // Starts copying the next tile.
  __device__ __forceinline__ void copy(const MmaContext<Shape>& c, int tile) {
    T* const memory = c.tile_memory(tile);
    const int first = tile * kTokensPerTile;
    if constexpr (kKeeps) {
#pragma unroll
      for (int i = 0; i < Shape::kCopies; ++i) {
        copy_async_16(memory + (row(i) + (is_query(i) ? 0 : kTokensPerTile)) * Shape::kStride + column(i), sources_[i],
                      row(i) < c.tokens - first);
        const DualSoftmaxAttentionParams& p = c.arguments.params;
        sources_[i] += kTokensPerTile * (is_query(i) ? p.q_x_strides.row : p.v_x_strides.row);
      }
    } else {
      stage_rows<Shape>(memory, queries(c), first, c.tokens, kTokensPerTile);
      stage_rows<Shape>(memory + kTokensPerTile * Shape::kStride, values(c), first, c.tokens, kTokensPerTile);
    }
    copy_async_commit();
  }

 private:
  static __device__ Rows<const T> queries(const MmaContext<Shape>& c) {
    const DualSoftmaxAttentionParams& p = c.arguments.params;
    return rows_of<const T>(p.q_x, p.q_x_strides, c.share.batch, c.share.head);
  }
  static __device__ Rows<const T> values(const MmaContext<Shape>& c) {
    const DualSoftmaxAttentionParams& p = c.arguments.params;
    return rows_of<const T>(p.v_x, p.v_x_strides, c.share.batch, c.share.head);
  }
  static __device__ int chunk(int i) { return static_cast<int>(threadIdx.x) + i * Shape::kThreads; }
  static __device__ bool is_query(int i) { return chunk(i) < kTokensPerTile * Shape::kChunksPerRow; }
  static __device__ int row(int i) { return chunk(i) / Shape::kChunksPerRow % kTokensPerTile; }
  static __device__ int column(int i) { return chunk(i) % Shape::kChunksPerRow * 8; }

  const T* sources_[kKeeps ? Shape::kCopies : 1];
};

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
      tiles_.start(context_, share.tile_begin);
      tiles_.copy(context_, share.tile_begin);
      copy_async_wait<0>();
      __syncthreads();
      labels_.load_keys(context_);
      for (int tile = share.tile_begin; tile < share.tile_end; ++tile) {
        copy_async_wait<0>();
        __syncthreads();  // the tile has arrived, and the weights (before the first: the keys) are no longer read
        if (Shape::kStages == 2 && tile + 1 < share.tile_end) tiles_.copy(context_, tile + 1);
        if (block == share.block_begin) {
          process_tile<true>(block, tile);
        } else {
          process_tile<false>(block, tile);
        }
      }
      labels_.finish(context_, block);
    }
  }

 private:
  // kBegins: no earlier label block has left a state of the tokens.
  template <bool kBegins>
  __device__ __forceinline__ void process_tile(int block, int tile) {
    const MmaContext<Shape>& c = context_;
    const int first_token = tile * kTokensPerTile;
    const bool ends = block + 1 == c.share.block_end && c.arguments.plan.label_splits == 1;
    const T* const queries = c.tile_memory(tile);
    MmaTokens<Shape> sums;
    MmaReferences<Shape> references;
    // Early, to hide the latency, unless that takes too many registers.
    constexpr bool kEarly = Shape::kDimBlocksPerWarp < 6 && (Shape::kDim == 32 || Shape::kMTiles == 1);
    if constexpr (!kBegins) {
      references.load(c, token_state_, first_token);
      if (kEarly) sums.load(c, token_state_, first_token);
    }

    TileScores<Shape> scores = {};
    labels_.compute_scores(c, queries, scores);
    if (!labels_.all_take_part() || first_token + kTokensPerTile > c.tokens) labels_.mask(c, first_token, scores);
    if constexpr (kBegins) share_maxima(c, scores);
    labels_.add_tile(c, queries + kTokensPerTile * Shape::kStride, scores, tile == c.share.tile_begin);

    bool stay = false;  // whether the references of earlier label blocks serve this one, too
    if constexpr (!kBegins) {
      const bool exceeded = share_weights(c, scores, references);
      stay = __syncthreads_or(exceeded) == 0;
      if (!stay) share_maxima(c, scores);
    }
    float rescale = 1.0F;
    if (!stay) {
      __syncthreads();
      rescale = references.template move<kBegins>(c, token_state_, first_token);
      share_weights(c, scores, references);
      __syncthreads();
      if (!ends) references.store(c, token_state_, first_token);
    }
    if constexpr (!kBegins) {
      if (!kEarly) sums.load(c, token_state_, first_token);
      if (!stay) sums.rescale(c, rescale);
    }
    // All warps are done with the tile's queries and values.
    if (Shape::kStages == 1 && tile + 1 < c.share.tile_end) tiles_.copy(c, tile + 1);
    if (ends) {
      sums.template add_label_values<true>(c);
      sums.finish(c, first_token);
    } else {
      if (sums.stores_weights(c)) {
        sums.template add_label_values<true>(c);
      } else {
        sums.template add_label_values<false>(c);
      }
      sums.store(c, token_state_, first_token);
    }
  }

  const MmaContext<Shape> context_;
  const PartialRows token_state_ =
      partial_rows(context_.arguments.token_state, context_.share.label_split, context_.arguments, context_.share.entry,
                   padded_tokens(context_.arguments.plan));
  MmaLabels<Shape> labels_;
  MmaTiles<Shape> tiles_;
};

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kResident) mma_attention(const AttentionArguments arguments) {
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
