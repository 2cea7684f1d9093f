// The tag head on a device: how the work is divided.
//
// A thread block processes one image and a block of labels, in tiles of 128 tokens. For each tile:
//   1. each token's mean, variance and norm are measured in device memory;
//   2. the width is processed in slices: cp.async loads a slice while the previous one is used; rows are normalised in
//      place and multiplied (on tensor cores for two-byte types);
//   3. the similarities go through shared memory to the threads that pool them: each has one label and some of the
//      tokens, and keeps a running softmax.
// A block sees all tokens of its labels, so nothing is merged between blocks, and the order of summation is fixed.
//
// Every block of labels normalises the tokens again. With many labels that costs more than the products, so a launch of
// its own then writes the normalised rows to the workspace (normalise.cuh), and the blocks are plain: without step 1
// and without normalising. The rows are rounded to the type in both cases, so the results are the same bits.
#pragma once

#include <type_traits>

#include "kernels/common/instructions.cuh"
#include "kernels/common/platform.cuh"
#include "pvlr/tag_head.h"

namespace pvlr::device {

// Scales the layer norm of a row to a root mean square of 1: ((x - mean) * inverse * weight + bias) * lift * factor.
// Two factors, so that neither a denormal row nor the inverse of its norm leaves the range of float32. The factor is
// zero for a row of zeros.
struct alignas(16) RowNorm {
  float mean;
  float inverse;
  float lift;
  float factor;
};

template <typename T, int kLabelCount, int kLabelWarpCount, int kSliceBytes, bool kRowsAreNormalised>
struct TagHeadShape {
  using Type = T;
  static constexpr bool kPlain = kRowsAreNormalised;
  static constexpr bool kTensorCores = !std::is_same_v<T, float>;
  static constexpr int kThreads = 256;
  static constexpr int kRows = 128;             // tokens in a tile
  static constexpr int kColumns = kLabelCount;  // labels in a block
  static constexpr int kVector = static_cast<int>(16 / sizeof(T));
  static constexpr int kSlice = static_cast<int>(kSliceBytes / sizeof(T));  // of the width
  static constexpr int kVectors = kSlice / kVector;
  static constexpr int kStride = kSlice + kVector;    // an odd number of 16-byte units: ldmatrix without conflicts
  static constexpr int kParts = kThreads / kColumns;  // threads that share a label's tokens

  // The part of the product that a warp computes on tensor cores, and a thread without them.
  static constexpr int kLabelWarps = kLabelWarpCount;
  static constexpr int kTokenWarps = kThreads / 32 / kLabelWarps;
  static constexpr int kMTiles = kRows / kTokenWarps / 16;
  static constexpr int kNTiles = kColumns / kLabelWarps / 8;
  static constexpr int kOwnRows = kRows / 16;
  static constexpr int kOwnColumns = kColumns / 16;

  // Each thread copies this many times 16 bytes of a slice, of the same rows in all slices; the last time, some don't.
  static constexpr int kTokenCopies = kRows * kVectors / kThreads;
  static constexpr int kCopies = ((kRows + kColumns) * kVectors + kThreads - 1) / kThreads;

  // Shared memory in bytes. The scores replace the slices, which are no longer needed then.
  static constexpr int kSliceSize = (kRows + kColumns) * kStride;  // in elements: tokens, then labels
  static constexpr std::size_t kSlicesBytes = 2 * kSliceSize * sizeof(T);
  static constexpr std::size_t kScoresBytes = kRows * kColumns * sizeof(float);
  static constexpr std::size_t kNorms = kSlicesBytes > kScoresBytes ? kSlicesBytes : kScoresBytes;
  static constexpr std::size_t kSharedBytes = kNorms + (kPlain ? 0 : (kRows + kColumns) * sizeof(RowNorm));

  static_assert(kThreads % kVectors == 0 && kThreads % kColumns == 0 && kNorms % 16 == 0);
  static_assert(kTokenCopies * kThreads == kRows * kVectors);
  static_assert(kMTiles > 0 && kNTiles % 2 == 0 && kRows % 32 == 0);
  static_assert(kSharedBytes <= 48 * 1024);  // available on any device without opt-in

  // Where a score is in shared memory. Columns are permuted within a row, pairs of them together: a column's 32 rows
  // are in all the banks that pairs allow (two lanes to a bank), and the rows of a fragment in different ones.
  static __device__ int score_index(int row, int column) {
    constexpr int kBits = kColumns >= 32 ? 2 : 1;
    const int turn = kColumns >= 32 ? row : row * kColumns / 32;  // rows that share banks are numbered
    const int permuted = column ^ ((turn & ((1 << kBits) - 1)) << 3 | (turn >> kBits & 3) << 1);
    return row * kColumns + permuted;
  }
};

}  // namespace pvlr::device
