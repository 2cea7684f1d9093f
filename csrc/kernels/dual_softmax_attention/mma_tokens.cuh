// Dual-softmax attention on tensor cores: the softmax over labels, and a warp's part of a tile's o_x: 16 tokens and
// some dimensions.
#pragma once

#include "mma_shape.cuh"

namespace pvlr::device {

// Writes the largest score of each token and the warp's labels to the exchange, not scaled.
template <typename Shape>
__device__ __forceinline__ void share_maxima(const MmaContext<Shape>& c, const TileScores<Shape>& scores) {
  float largest[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    largest[i] = -INFINITY;
#pragma unroll
    for (int m = 0; m < Shape::kMTiles; ++m) {
      largest[i] = fmaxf(largest[i], fmaxf(scores[m][i / 2][i % 2], scores[m][i / 2][2 + i % 2]));
    }
  }
  c.exchange[c.warp * kTokensPerTile + c.score_token(c.g)] = largest_of_labels(largest);
}

// The references of a tile's tokens.
template <typename Shape>
class MmaReferences {
 public:
  // Of earlier label blocks.
  __device__ __forceinline__ void load(const MmaContext<Shape>& c, const PartialRows& state, int first_token) {
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
      const auto pair = *reinterpret_cast<const float2*>(state.references + first_token + c.score_token(i));
      own_[i] = pair.x;
      own_[i + 1] = pair.y;
    }
  }

  // Moves them to the largest scores so far, those in the exchange included. Returns by what token `lane`'s earlier
  // weights are to be multiplied.
  template <bool kBegins>
  __device__ __forceinline__ float move(const MmaContext<Shape>& c, const PartialRows& state, int first_token) {
    const float old = kBegins ? -INFINITY : state.references[first_token + c.lane];
    moved_ = old;
#pragma unroll
    for (int w = 0; w < Shape::kWarps; ++w) {
      moved_ = fmaxf(moved_, fmaf(c.exchange[w * kTokensPerTile + c.lane], c.scale, kHeadroom));
    }
    // A finite one past the end, so that later label blocks can stay with it.
    if (first_token + c.lane >= c.tokens) moved_ = 0.0F;
    const float subtracted = finite_maximum(moved_);
#pragma unroll
    for (int i = 0; i < 8; ++i) own_[i] = __shfl_sync(kFullWarp, subtracted, c.score_token(i));
    return exp2_approx(old - subtracted);
  }

  // After a barrier that follows every warp's move().
  __device__ __forceinline__ void store(const MmaContext<Shape>& c, const PartialRows& state, int first_token) const {
    if (c.warp == 0) state.references[first_token + c.lane] = moved_;
  }

  __device__ float operator[](int i) const { return own_[i]; }

 private:
  float own_[8];  // of the lane's scores
  float moved_;   // of token `lane`; -infinity if no label takes part so far
};

// Writes the weights of the softmax over labels to shared memory. Returns whether a weight is 2 or more.
template <typename Shape>
__device__ __forceinline__ bool share_weights(const MmaContext<Shape>& c, const TileScores<Shape>& scores,
                                              const MmaReferences<Shape>& references) {
  auto* const to = c.shared + Shape::kKeys + (c.warp * Shape::kMTiles * 16 + c.g) * Shape::kWeightStride + 2 * c.t;
  std::uint32_t all = 0;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
#pragma unroll
    for (int m = 0; m < Shape::kMTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float first = exp2_approx(fmaf(scores[m][j][2 * half], c.scale, -references[2 * j]));
        const float second = exp2_approx(fmaf(scores[m][j][2 * half + 1], c.scale, -references[2 * j + 1]));
        const std::uint32_t pair = pack<typename Shape::Type>(first, second);
        *reinterpret_cast<std::uint32_t*>(to + (m * 16 + half * 8) * Shape::kWeightStride + j * 8) = pair;
        all |= pair;
      }
    }
  }
  return (all & kTwoOrMore) != 0;
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
        const float2 pair = *reinterpret_cast<const float2*>(row + d * 8);
        sums_[d][2 * half] = pair.x;
        sums_[d][2 * half + 1] = pair.y;
      }
      weight_[2 * half] = state.weights[token];
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
      weight_[2 * half] *= factor;
    }
  }

  // One pair of warps, which has all tokens between them, adds up the weights for the workspace.
  __device__ bool stores_weights(const Context& c) const { return c.warp < 2; }

  // Adds P V_t, and the weights if wanted.
  template <bool kWeights>
  __device__ __forceinline__ void add_label_values(const Context& c) {
    const T* weights = c.shared + Shape::kKeys + (c.lane / 16 * 8 + c.lane % 8) * Shape::kWeightStride +
                       c.warp % 2 * 16 + c.lane / 8 % 2 * 8;
    const T* values = c.shared + Shape::kLabelValues + c.lane * Shape::kStride + c.warp / 2 * kOwn * 8;
    // A loop where unrolling would take too many registers.
    [[maybe_unused]] constexpr int kUnroll = kOwn < 6 ? Shape::kColumns / 32 : 1;
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
      if (kWeights) {
        add_row_sums<T>(weight_, a[0]);
        add_row_sums<T>(weight_, a[1]);
      }
    }
  }

  // As sums to the workspace.
  __device__ __forceinline__ void store(const Context& c, const PartialRows& state, int first_token) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = first_token + c.own_row() + half * 8;
      float* const row = state.sums + static_cast<std::int64_t>(token) * Shape::kDim + c.own_column();
#pragma unroll
      for (int d = 0; d < kOwn; ++d) {
        *reinterpret_cast<float2*>(row + d * 8) = float2{sums_[d][2 * half], sums_[d][2 * half + 1]};
      }
      if (stores_weights(c) && c.t == 0) state.weights[token] = weight_[2 * half];
    }
  }

  // Divided by the weights to o_x.
  __device__ __forceinline__ void finish(const Context& c, int first_token) const {
    const DualSoftmaxAttentionParams& p = c.arguments.params;
    const Rows<T> out = rows_of<T>(p.o_x, p.o_x_strides, c.share.batch, c.share.head);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float factor = inverse_or_zero(weight_[2 * half]);
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
  float weight_[4] = {};  // see add_row_sums
};

}  // namespace pvlr::device
