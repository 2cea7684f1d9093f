// Dual-softmax attention on tensor cores, for two-byte types: the shape, shared memory and helper functions.
//
// A warp owns 16 * kMTiles labels of its thread block's label block (mma_labels.cuh). Their keys and their o_t stay in
// registers while tiles of 32 tokens go by (mma_kernel.cuh). For each tile, S^T (labels x tokens) is computed once, in
// registers:
//   - the softmax over tokens is online within the warp, and its weights go from one product straight into the next;
//   - for the softmax over labels the warps exchange maxima, write their weights to shared memory, and each computes a
//     part of the tile's o_x (16 tokens, some dimensions; mma_tokens.cuh), added to that of earlier label blocks.
// Fragment layouts are those of mma.m16n8k16; in a lane, g = lane / 4 and t = lane % 4.
#pragma once

#include "kernels/common/instructions.cuh"
#include "work.cuh"

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
// and returns the result for value g in lane (g, t).
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

// Starts copying `rows` rows to shared memory, the first of which is `begin`; rows at or after `end` become zero.
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

// What all parts of the kernel need: the arguments, the thread block's share of the work and memory, and the thread's
// position.
template <typename Shape>
struct MmaContext {
  using T = typename Shape::Type;
  static constexpr int kOwn = Shape::kDimBlocksPerWarp;

  const AttentionArguments& arguments;
  T* const shared;
  float* const exchange = reinterpret_cast<float*>(shared + Shape::kExchange);
  const Share share = find_share(arguments);
  const int tokens = static_cast<int>(arguments.params.tokens);
  const int labels = static_cast<int>(arguments.params.labels);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int g = lane / 4;
  const int t = lane % 4;
  const float scale = kLog2E / sqrtf(static_cast<float>(Shape::kDim));  // of the affinity, in units of log2

  __device__ T* tile_memory(int tile) const {
    return shared + Shape::kTiles + tile % Shape::kStages * Shape::kTileSize;
  }
  __device__ int first_label(int block) const { return block * Shape::kColumns + warp * Shape::kMTiles * 16; }
  // This lane's first token and dimension of the tile's o_x; it also has the token 8 rows below.
  __device__ int own_row() const { return warp % 2 * 16 + g; }
  __device__ int own_column() const { return warp / 2 * kOwn * 8 + 2 * t; }
  // The token whose labels this lane combines, see combine_labels.
  __device__ int combined_token() const { return g / 2 * 8 + 2 * t + g % 2; }
  // What warp w put into the exchange for token `lane`: its maximum (part 0) or its sum of weights (part 1).
  __device__ float exchanged(int part, int w) const {
    return exchange[(part * Shape::kWarps + w) * kTokensPerTile + lane];
  }
};

template <typename Shape>
using TileScores = float[Shape::kMTiles][4][4];  // m-tile, 8 tokens, element of the fragment

}  // namespace pvlr::device
