// Dual-softmax attention on tensor cores, for two-byte types: the kernel's shape, state and outer loops. What happens
// to one label block and one tile of tokens is in dual_softmax_attention_block.cuh and dual_softmax_attention_tile.cuh.
//
// A warp owns 16 * kMTiles labels of its thread block's label block. Their keys and their o_t stay in registers while
// tiles of 32 tokens go by. Of each tile, S^T (labels x tokens) is computed once, in registers:
//   - the softmax over tokens is online within the warp, and its weights go from one product straight into the next;
//   - for the softmax over labels the warps exchange maxima, write their weights to shared memory, and each computes a
//     part of the tile's o_x (16 tokens, some dimensions), which is added to what earlier label blocks gave.
// Fragment layouts are those of mma.m16n8k16; in a lane, g = lane / 4 and t = lane % 4.
#pragma once

#include "dual_softmax_attention_common.cuh"
#include "instructions.cuh"

namespace pvlr::device {

constexpr std::size_t kTuringSharedBytes = 64 * 1024;

template <typename T, int kDimension, int kWarpCount, int kMTileCount, int kStageCount>
struct MmaShape {
  using Type = T;
  static constexpr int kDim = kDimension;
  static constexpr int kWarps = kWarpCount;
  static constexpr int kMTiles = kMTileCount;
  static constexpr int kStages = kStageCount;  // of token tiles: 2 loads the next one while this one is used
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kColumns = kWarps * kMTiles * 16;
  static constexpr int kStride = kDim + 8;  // an odd number of 16-byte units: ldmatrix without conflicts
  static constexpr int kWeightStride = kTokensPerTile + 8;  // the same
  static constexpr int kDimBlocks = kDim / 8;
  static constexpr int kDimBlocksPerWarp = kDimBlocks / (kWarps / 2);  // of o_x

  // Shared memory, in elements of T. The weights take the place of the keys, which are in registers by then.
  static constexpr int kLabelValues = 0;
  static constexpr int kKeys = kColumns * kStride;
  static constexpr int kTiles = 2 * kColumns * kStride;
  static constexpr int kTileSize = 2 * kTokensPerTile * kStride;  // queries, then values
  static constexpr int kExchange = kTiles + kStages * kTileSize;  // floats: maxima, then sums, by warp and token
  static constexpr std::size_t kSharedBytes = sizeof(T) * kExchange + sizeof(float) * 2 * kWarps * kTokensPerTile;
  static_assert(kWarps % 2 == 0 && kDimBlocks % (kWarps / 2) == 0);
};

struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

// Each lane has 8 values, one for each of its tokens; lanes of equal t have the same tokens. Combines over those lanes
// and leaves lane (g, t) with the result for value g.
template <typename Operation>
__device__ __forceinline__ float combine_labels(float (&values)[8], Operation operation) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 4; half > 0; half /= 2) {
    const bool upper = (lane & (half * 4)) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float sent = upper ? values[i] : values[i + half];
      const float kept = upper ? values[i + half] : values[i];
      values[i] = operation(kept, __shfl_xor_sync(kFullWarp, sent, half * 4));
    }
  }
  return values[0];
}

template <typename T>
__device__ __forceinline__ std::uint32_t pack(float first, float second) {
  const T pair[2] = {static_cast<T>(first), static_cast<T>(second)};
  std::uint32_t bits;
  memcpy(&bits, static_cast<const void*>(pair), sizeof bits);
  return bits;
}

// Starts copying `rows` rows, counted from `begin`, to shared memory; rows from `end` on become zero.
template <typename Shape>
__device__ __forceinline__ void stage_rows(typename Shape::Type* to, const Rows<const typename Shape::Type>& from,
                                           int begin, int end, int rows) {
  constexpr int kChunks = Shape::kDim / 8;  // of 16 bytes
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < rows * kChunks; i += Shape::kThreads) {
    const int row = i / kChunks;
    const int column = i % kChunks * 8;
    const bool valid = begin + row < end;
    copy_async_16(to + row * Shape::kStride + column, from[valid ? begin + row : begin] + column, valid);
  }
}

template <typename Shape>
class MmaAttention {
  using T = typename Shape::Type;
  static constexpr int kM = Shape::kMTiles;
  static constexpr int kOwn = Shape::kDimBlocksPerWarp;

 public:
  __device__ MmaAttention(const AttentionArguments& arguments, unsigned char* shared)
      : arguments_(arguments),
        share_(find_share(arguments)),
        shared_(reinterpret_cast<T*>(shared)),
        exchange_(reinterpret_cast<float*>(shared_ + Shape::kExchange)),
        tokens_(static_cast<int>(arguments.params.tokens)),
        labels_(static_cast<int>(arguments.params.labels)),
        warp_(static_cast<int>(threadIdx.x / 32)),
        lane_(static_cast<int>(threadIdx.x % 32)),
        g_(lane_ / 4),
        t_(lane_ % 4),
        scale_(kLog2E / sqrtf(static_cast<float>(Shape::kDim))) {}

  __device__ void run() {
    for (int block = share_.block_begin; block < share_.block_end; ++block) {
      if (block != share_.block_begin) __syncthreads();  // the last block's values are still being read
      start_block(block);
      for (int tile = share_.tile_begin; tile < share_.tile_end; ++tile) {
        copy_async_wait<0>();
        __syncthreads();
        if (tile == share_.tile_begin) load_keys();
        if (Shape::kStages == 2 && tile + 1 < share_.tile_end) stage_tile(tile + 1);
        process_tile(block, tile);
      }
      finish_block(block);
    }
  }

 private:
  using TileScores = float[kM][4][4];  // m-tile, 8 tokens, element of the fragment

  // Starts loading a label block's keys and values and its first tile of tokens, and forgets the last block's sums.
  __device__ void start_block(int block);
  __device__ void stage_tile(int tile);
  __device__ void load_keys();
  __device__ void process_tile(int block, int tile);
  // S^T, not scaled yet; -infinity for labels and tokens that take no part.
  __device__ void compute_scores(const T* queries, int first_token, TileScores& scores);
  // Adds the tile to o_t.
  __device__ void add_to_labels(const T* values, const TileScores& scores);
  // Writes the weights of the softmax over labels to shared memory, and their sums to the exchange.
  __device__ void share_weights(const TileScores& scores, float maximum);
  // Adds P V_t to this warp's part of the tile's o_x.
  __device__ void multiply_label_values(float (&sums)[kOwn][4]);
  // This warp's part of a tile's o_x, as sums in the workspace or divided by the weights (lane i has token i's weight).
  __device__ void load_token_sums(const PartialRows& state, int first_token, float (&sums)[kOwn][4]);
  __device__ void store_token_sums(const PartialRows& state, int first_token, const float (&sums)[kOwn][4]);
  __device__ void store_tokens(float weight, int first_token, const float (&sums)[kOwn][4]);
  __device__ void finish_block(int block);

  __device__ T* tile_memory(int tile) const {
    return shared_ + Shape::kTiles + tile % Shape::kStages * Shape::kTileSize;
  }
  __device__ int first_label(int block) const { return block * Shape::kColumns + warp_ * kM * 16; }
  // This lane's first token and dimension of the tile's o_x; it also has the token 8 further on.
  __device__ int own_row() const { return warp_ % 2 * 16 + g_; }
  __device__ int own_column() const { return warp_ / 2 * kOwn * 8 + 2 * t_; }
  // The token whose labels this lane combines, see combine_labels.
  __device__ int combined_token() const { return g_ / 2 * 8 + 2 * t_ + g_ % 2; }
  __device__ float exchanged(int part, int w) const {
    return exchange_[(part * Shape::kWarps + w) * kTokensPerTile + lane_];
  }

  const AttentionArguments& arguments_;
  const Share share_;
  T* const shared_;
  float* const exchange_;
  const int tokens_;
  const int labels_;
  const int warp_;
  const int lane_;
  const int g_;
  const int t_;
  const float scale_;  // of the affinity, in units of log2

  // Of this warp's labels: m-tile, row g or g + 8.
  std::uint32_t keys_[kM][Shape::kDim / 16][4];
  float sums_[kM][Shape::kDimBlocks][4];
  float maximum_[kM][2];
  float weight_[kM][2];  // this lane's tokens only
  unsigned takes_part_;  // bit 2 * m-tile + half
};

}  // namespace pvlr::device
