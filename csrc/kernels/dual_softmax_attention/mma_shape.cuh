// Dual-softmax attention on tensor cores, for two-byte types: the shape, shared memory and helper functions.
//
// A warp owns 16 * kMTiles labels of its thread block's label block (mma_labels.cuh). Their keys and their o_t stay in
// registers while tiles of 32 tokens go by (mma_kernel.cuh). For each tile, S^T (labels x tokens) is computed once, in
// registers:
//   - the softmax over tokens is online within the warp, and its weights go from one product straight into the next;
//   - for the softmax over labels the warps write their weights to shared memory, and each computes a part of the
//     tile's o_x (16 tokens, some dimensions; mma_tokens.cuh), added to that of earlier label blocks.
// Fragment layouts are those of mma.m16n8k16; in a lane, g = lane / 4 and t = lane % 4.
//
// Both softmaxes move their references lazily. A weight is 2^(score - reference), and any reference gives the same
// result, because it cancels when the weighted sum is divided by the sum of weights; it only has to keep the weights in
// the range of their type. A reference is set to the largest score so far + kHeadroom, so that weights are at most
// 2^-kHeadroom, and stays until a weight reaches 2. Then nothing has overflowed (the next power of two that float16
// cannot hold is 2^16; a weight that can't be represented has the bit that is tested, too), the weights are discarded,
// and the reference moves. It never exceeds the largest score by more than kHeadroom: what is lost below the smallest
// float16, 2^-24, is less than 2^(kHeadroom - 24) of the row's largest weight, 2^-7 of what rounding that one may lose.
#pragma once

#include <type_traits>

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
  // Thread blocks that a multiprocessor should get; limits the registers.
  static constexpr int kResident = kWarps < 8 || (kDim == 32 && kMTiles == 1) ? 2 : 1;
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
  static constexpr int kExchange = kTiles + kStages * kTileSize;  // floats: maxima by warp and token
  static constexpr std::size_t kSharedBytes = sizeof(T) * kExchange + sizeof(float) * kWarps * kTokensPerTile;

  // Each thread copies this many times 16 bytes of a tile, always of the same rows and columns.
  static constexpr int kChunksPerRow = kDim / 8;
  static constexpr int kCopies = 2 * kTokensPerTile * kChunksPerRow / kThreads;
  static_assert(kWarps % 2 == 0 && kDimBlocks % (kWarps / 2) == 0);
  static_assert(kCopies * kThreads == 2 * kTokensPerTile * kChunksPerRow);
};

// Of references over scores, in units of log2.
constexpr float kHeadroom = 6.0F;

// The bit that is set in each of a pair of weights, float16 or bfloat16, if it is 2 or more, or NaN.
constexpr std::uint32_t kTwoOrMore = 0x40004000U;

// Each lane has 8 values, one for each of its tokens; lanes of equal t have the same tokens. Returns the largest of the
// lanes' values g in lane (g, t).
__device__ __forceinline__ float largest_of_labels(float (&values)[8]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 4; half > 0; half /= 2) {
    const bool upper = (lane & (half * 4)) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float sent = upper ? values[i] : values[i + half];
      const float kept = upper ? values[i + half] : values[i];
      values[i] = fmaxf(kept, __shfl_xor_sync(kFullWarp, sent, half * 4));
    }
  }
  return values[0];
}

template <typename T>
__device__ __forceinline__ std::uint32_t pack(float first, float second) {
  std::uint32_t bits;
  if constexpr (std::is_same_v<T, float16>) {
    const __half2 pair = __floats2half2_rn(first, second);
    memcpy(&bits, static_cast<const void*>(&pair), sizeof bits);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    memcpy(&bits, static_cast<const void*>(&pair), sizeof bits);
  }
  return bits;
}

// Adds a's sums over its 16 columns to d: a product with ones, so that the same rounded weights are in the sum and in
// the weighted sums. d has row g in 0 and 1, row g + 8 in 2 and 3.
template <typename T>
__device__ __forceinline__ void add_row_sums(float (&d)[4], const std::uint32_t (&a)[4]) {
  constexpr std::uint32_t kOnes = std::is_same_v<T, float16> ? 0x3C003C00U : 0x3F803F80U;
  mma_m16n8k16<T>(d, a, kOnes, kOnes);
}

// Starts copying `rows` rows to shared memory, the first of which is `begin`; rows at or after `end` become zero.
template <typename Shape>
__device__ __forceinline__ void stage_rows(typename Shape::Type* to, const Rows<const typename Shape::Type>& from,
                                           int begin, int end, int rows) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < rows * Shape::kChunksPerRow; i += Shape::kThreads) {
    const int row = i / Shape::kChunksPerRow;
    const int column = i % Shape::kChunksPerRow * 8;
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
  // The token of score i of 8 in a row of the fragments.
  __device__ int score_token(int i) const { return i / 2 * 8 + 2 * t + i % 2; }
};

template <typename Shape>
using TileScores = float[Shape::kMTiles][4][4];  // m-tile, 8 tokens, element of the fragment

}  // namespace pvlr::device
