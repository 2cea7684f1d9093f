// Dual-softmax attention on tensor cores: a warp's part of a tile's o_x, 16 tokens and some dimensions.
#pragma once

#include "mma_shape.cuh"

namespace pvlr::device {

// Writes the weights of the softmax over labels to shared memory, and their sums to the exchange. Lane i has the
// maximum of token i.
template <typename Shape>
__device__ __forceinline__ void share_weights(const MmaContext<Shape>& c, const TileScores<Shape>& scores,
                                              float maximum) {
  float totals[8];
  auto* const to = c.shared + Shape::kKeys + (c.warp * Shape::kMTiles * 16 + c.g) * Shape::kWeightStride + 2 * c.t;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float first_maximum = __shfl_sync(kFullWarp, maximum, j * 8 + 2 * c.t);
    const float second_maximum = __shfl_sync(kFullWarp, maximum, j * 8 + 2 * c.t + 1);
    totals[2 * j] = 0.0F;
    totals[2 * j + 1] = 0.0F;
#pragma unroll
    for (int m = 0; m < Shape::kMTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float first = exp2_approx(fmaf(scores[m][j][2 * half], c.scale, -first_maximum));
        const float second = exp2_approx(fmaf(scores[m][j][2 * half + 1], c.scale, -second_maximum));
        totals[2 * j] += first;
        totals[2 * j + 1] += second;
        auto* const pair = to + (m * 16 + half * 8) * Shape::kWeightStride + j * 8;
        *reinterpret_cast<std::uint32_t*>(pair) = pack<typename Shape::Type>(first, second);
      }
    }
  }
  const float total = combine_labels(totals, Sum{});
  c.exchange[(Shape::kWarps + c.warp) * kTokensPerTile + c.combined_token()] = total;
}

template <typename Shape>
class MmaTokens {
  using T = typename Shape::Type;
  using Context = MmaContext<Shape>;
  static constexpr int kOwn = Shape::kDimBlocksPerWarp;

 public:
  // Takes the sums of earlier label blocks from the workspace.
  __device__ __forceinline__ void load(const Context& c, const PartialRows& state, int first_token) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = first_token + c.own_row() + half * 8;
      const float* row = state.sums + static_cast<std::int64_t>(token) * Shape::kDim + c.own_column();
#pragma unroll
      for (int d = 0; d < kOwn; ++d) {
        const float2 pair = token < c.tokens ? *reinterpret_cast<const float2*>(row + d * 8) : float2{0.0F, 0.0F};
        sums_[d][2 * half] = pair.x;
        sums_[d][2 * half + 1] = pair.y;
      }
    }
  }

  __device__ __forceinline__ void rescale(const Context& c, float rescale) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float factor = __shfl_sync(kFullWarp, rescale, c.own_row() + half * 8);
#pragma unroll
      for (int d = 0; d < kOwn; ++d) {
        sums_[d][2 * half] *= factor;
        sums_[d][2 * half + 1] *= factor;
      }
    }
  }

  // Adds P V_t.
  __device__ __forceinline__ void add_label_values(const Context& c) {
    const T* weights = c.shared + Shape::kKeys + (c.lane / 16 * 8 + c.lane % 8) * Shape::kWeightStride +
                       c.warp % 2 * 16 + c.lane / 8 % 2 * 8;
    const T* values = c.shared + Shape::kLabelValues + c.lane * Shape::kStride + c.warp / 2 * kOwn * 8;
    [[maybe_unused]] constexpr int kUnroll = kOwn < 8 ? 2 : 1;
#pragma unroll kUnroll
    for (int column = 0; column < Shape::kColumns; column += 32) {
      std::uint32_t a[2][4];
      ldmatrix_x4_trans(a[0], weights + column * Shape::kWeightStride);
      ldmatrix_x4_trans(a[1], weights + (column + 16) * Shape::kWeightStride);
#pragma unroll
      for (int d = 0; d < kOwn; ++d) {
        std::uint32_t b[4];
        ldmatrix_x4_trans(b, values + column * Shape::kStride + d * 8);
        mma_m16n8k16<T>(sums_[d], a[0], b[0], b[1]);
        mma_m16n8k16<T>(sums_[d], a[1], b[2], b[3]);
      }
    }
  }

  // As sums to the workspace.
  __device__ __forceinline__ void store(const Context& c, const PartialRows& state, int first_token) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = first_token + c.own_row() + half * 8;
      if (token >= c.tokens) continue;
      float* const row = state.sums + static_cast<std::int64_t>(token) * Shape::kDim + c.own_column();
#pragma unroll
      for (int d = 0; d < kOwn; ++d) {
        *reinterpret_cast<float2*>(row + d * 8) = float2{sums_[d][2 * half], sums_[d][2 * half + 1]};
      }
    }
  }

  // Divided by the weights to o_x; lane i has the weight of token i.
  __device__ __forceinline__ void finish(const Context& c, float weight, int first_token) const {
    const DualSoftmaxAttentionParams& p = c.arguments.params;
    const Rows<T> out = rows_of<T>(p.o_x, p.o_x_strides, c.share.batch, c.share.head);
    const float inverse = inverse_or_zero(weight);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float factor = __shfl_sync(kFullWarp, inverse, c.own_row() + half * 8);
      const int token = first_token + c.own_row() + half * 8;
      if (token >= c.tokens) continue;
      T* const row = out[token] + c.own_column();
#pragma unroll
      for (int d = 0; d < kOwn; ++d) {
        *reinterpret_cast<std::uint32_t*>(row + d * 8) =
            pack<T>(sums_[d][2 * half] * factor, sums_[d][2 * half + 1] * factor);
      }
    }
  }

 private:
  float sums_[kOwn][4] = {};
};

}  // namespace pvlr::device
