// Dual-softmax attention in float32, without tensor cores: their fp32 formats keep only 10 bits of each factor.
//
// Blocks and tiles are as on tensor cores. The scores of a tile (32 tokens x kColumns labels) are in shared memory,
// where both softmaxes read them; o_t of the label block stays in registers.
#pragma once

#include "work.cuh"

namespace pvlr::device {

template <int kDimension>
struct Fp32Shape {
  static constexpr int kDim = kDimension;
  static constexpr int kColumns = kDim <= 96 ? 64 : 32;
  static constexpr int kThreads = 128;
  static constexpr int kResident = 2;                              // thread blocks that a multiprocessor should get
  static constexpr int kStride = kDim + 4;                         // of queries and keys, in floats
  static constexpr int kScoreStride = kColumns + 4;                // of scores and weights
  static constexpr int kLabelGroups = kColumns / 4;                // o_t: 4 labels per thread ...
  static constexpr int kOwnDims = kDim * kLabelGroups / kThreads;  // ... and this many dimensions
  static constexpr int kTokenDims = kDim / 16;                     // o_x: 4 tokens and this many dimensions per thread
  static constexpr int kQueries = 0;
  static constexpr int kKeys = kQueries + kTokensPerTile * kStride;
  static constexpr int kLabelWeights = kKeys + kColumns * kStride;  // scores first, then weights over labels
  static constexpr int kTokenWeights = kLabelWeights + kTokensPerTile * kScoreStride;
  static constexpr int kTokenState = kTokenWeights + kTokensPerTile * kScoreStride;  // rescaling, 1 / sum; by token
  static constexpr int kLabelState = kTokenState + 2 * kTokensPerTile;               // rescaling, sum; by label
  static constexpr std::size_t kSharedBytes = sizeof(float) * (kLabelState + 2 * kColumns);
};

template <int kDim, int kStride>
__device__ __forceinline__ void stage_fp32(float* to, const Rows<const float>& from, int begin, int end, int rows) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * kDim; i += Fp32Shape<kDim>::kThreads) {
    const int row = begin + i / kDim;
    to[i / kDim * kStride + i % kDim] = row < end ? from[row][i % kDim] : 0.0F;
  }
}

// Scores of 4 tokens and kColumns / 16 labels per thread.
template <typename Shape>
__device__ __forceinline__ void fp32_scores(const AttentionArguments& a, const Share& share, float* shared, int block,
                                            int first_token) {
  constexpr int kLabels = Shape::kColumns / 16;
  const int group = static_cast<int>(threadIdx.x) / 16;
  const int column = static_cast<int>(threadIdx.x) % 16;
  float scores[4][kLabels] = {};
  for (int d = 0; d < Shape::kDim; d += 4) {
    float4 keys[kLabels];
#pragma unroll
    for (int j = 0; j < kLabels; ++j) {
      keys[j] = *reinterpret_cast<const float4*>(shared + Shape::kKeys + (column + 16 * j) * Shape::kStride + d);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const auto q = *reinterpret_cast<const float4*>(shared + Shape::kQueries + (group * 4 + i) * Shape::kStride + d);
#pragma unroll
      for (int j = 0; j < kLabels; ++j) {
        scores[i][j] = fmaf(q.x, keys[j].x, scores[i][j]);
        scores[i][j] = fmaf(q.y, keys[j].y, scores[i][j]);
        scores[i][j] = fmaf(q.z, keys[j].z, scores[i][j]);
        scores[i][j] = fmaf(q.w, keys[j].w, scores[i][j]);
      }
    }
  }
  const float scale = 1.0F / sqrtf(static_cast<float>(Shape::kDim));
#pragma unroll
  for (int j = 0; j < kLabels; ++j) {
    const int label = column + 16 * j;
    const bool takes_part = label_takes_part(a.params, share.batch, block * Shape::kColumns + label);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool inside = takes_part && first_token + group * 4 + i < a.params.tokens;
      shared[Shape::kLabelWeights + (group * 4 + i) * Shape::kScoreStride + label] =
          inside ? scores[i][j] * scale : -INFINITY;
    }
  }
}

struct OnlineSoftmax {
  float maximum;
  float rescale;  // of earlier sums
  float sum;      // of the new weights
};

// Continues a softmax with kCount scores of each of kTeam threads, `stride` apart, and writes their weights.
template <int kTeam, int kCount>
__device__ __forceinline__ OnlineSoftmax team_softmax(const float* scores, float* weights, int stride, float maximum) {
  float largest = maximum;
  for (int i = 0; i < kCount; ++i) largest = fmaxf(largest, scores[i * stride]);
  for (int bits = 1; bits < kTeam; bits *= 2) largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, bits));
  const float subtracted = finite_maximum(largest);
  float sum = 0.0F;
  for (int i = 0; i < kCount; ++i) {
    const float weight = expf(scores[i * stride] - subtracted);
    weights[i * stride] = weight;
    sum += weight;
  }
  for (int bits = 1; bits < kTeam; bits *= 2) sum += __shfl_xor_sync(kFullWarp, sum, bits);
  return {largest, expf(maximum - subtracted), sum};
}

// Softmax over the tile's tokens: a few threads per label. `maximum` and `weight` are the label's from earlier tiles.
template <typename Shape>
__device__ __forceinline__ void fp32_label_softmax(float* shared, float& maximum, float& weight) {
  constexpr int kTeam = Shape::kThreads / Shape::kColumns;
  constexpr int kTokens = kTokensPerTile / kTeam;
  const int label = static_cast<int>(threadIdx.x) / kTeam;
  const int first = static_cast<int>(threadIdx.x) % kTeam * kTokens;
  const int offset = first * Shape::kScoreStride + label;
  const OnlineSoftmax result = team_softmax<kTeam, kTokens>(
      shared + Shape::kLabelWeights + offset, shared + Shape::kTokenWeights + offset, Shape::kScoreStride, maximum);
  maximum = result.maximum;
  weight = weight * result.rescale + result.sum;
  if (first == 0) {
    shared[Shape::kLabelState + label] = result.rescale;
    shared[Shape::kLabelState + Shape::kColumns + label] = weight;
  }
}

// Softmax over the block's labels, in place of the scores: four threads per token.
template <typename Shape>
__device__ __forceinline__ void fp32_token_softmax(float* shared, const PartialRows& state, bool begins, bool ends,
                                                   int first_token, int tokens) {
  constexpr int kTeam = Shape::kThreads / kTokensPerTile;
  const int row = static_cast<int>(threadIdx.x) / kTeam;
  const int part = static_cast<int>(threadIdx.x) % kTeam;
  const int token = first_token + row;
  const bool known = !begins && token < tokens;
  const float old_maximum = known ? state.references[token] : -INFINITY;
  const float old_weight = known ? state.weights[token] : 0.0F;
  float* const scores = shared + Shape::kLabelWeights + row * Shape::kScoreStride + part;
  const OnlineSoftmax result = team_softmax<kTeam, Shape::kColumns / kTeam>(scores, scores, kTeam, old_maximum);
  const float weight = old_weight * result.rescale + result.sum;
  if (part != 0) return;  // after the shuffles: every thread of the team has read the old state
  shared[Shape::kTokenState + row] = result.rescale;
  shared[Shape::kTokenState + kTokensPerTile + row] = inverse_or_zero(weight);
  if (!ends && token < tokens) {
    state.references[token] = result.maximum;
    state.weights[token] = weight;
  }
}

}  // namespace pvlr::device
