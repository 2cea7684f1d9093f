// Dual-softmax attention on tensor cores: a warp's labels, their keys and their o_t.
#pragma once

#include "mma_shape.cuh"

namespace pvlr::device {

template <typename Shape>
class MmaLabels {
  using T = typename Shape::Type;
  using Context = MmaContext<Shape>;
  static constexpr int kM = Shape::kMTiles;

 public:
  // Starts copying a label block's keys and values, and resets the sums.
  __device__ __forceinline__ void start(const Context& c, int block) {
    const DualSoftmaxAttentionParams& p = c.arguments.params;
    const int first = block * Shape::kColumns;
    const Rows<const T> keys = rows_of<const T>(p.k_t, p.k_t_strides, c.share.batch, c.share.head);
    const Rows<const T> values = rows_of<const T>(p.v_t, p.v_t_strides, c.share.batch, c.share.head);
    stage_rows<Shape>(c.shared + Shape::kKeys, keys, first, c.labels, Shape::kColumns);
    stage_rows<Shape>(c.shared + Shape::kLabelValues, values, first, c.labels, Shape::kColumns);

    takes_part_ = 0;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        reference_[m][half] = -INFINITY;
        const bool takes_part = label_takes_part(p, c.share.batch, c.first_label(block) + m * 16 + half * 8 + c.g);
        takes_part_ |= (takes_part ? 1U : 0U) << (2 * m + half);
      }
#pragma unroll
      for (int d = 0; d < Shape::kDimBlocks; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums_[m][d][i] = 0.0F;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) weight_[m][i] = 0.0F;
    }
    all_take_part_ = __all_sync(kFullWarp, takes_part_ == (1U << 2 * kM) - 1) != 0;
  }

  // Whether all of the warp's labels exist and none is masked.
  __device__ bool all_take_part() const { return all_take_part_; }

  __device__ __forceinline__ void load_keys(const Context& c) {
    const T* row = c.shared + Shape::kKeys + (c.warp * kM * 16 + c.lane % 16) * Shape::kStride + c.lane / 16 * 8;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int k = 0; k < Shape::kDim / 16; ++k) ldmatrix_x4(keys_[m][k], row + m * 16 * Shape::kStride + k * 16);
    }
  }

  // Adds S^T to scores of zero, not scaled yet.
  __device__ __forceinline__ void compute_scores(const Context& c, const T* queries, TileScores<Shape>& scores) const {
    const T* row = queries + (c.lane / 16 * 8 + c.lane % 8) * Shape::kStride + c.lane / 8 % 2 * 8;
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
  }

  // -infinity for masked labels and tokens past the end.
  __device__ __forceinline__ void mask(const Context& c, int first_token, TileScores<Shape>& scores) const {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const bool inside = first_token + j * 8 + 2 * c.t + i % 2 < c.tokens;
          if (!inside || (takes_part_ >> (2 * m + i / 2) & 1U) == 0) scores[m][j][i] = -INFINITY;
        }
      }
    }
  }

  // Adds the tile to o_t. The block's first tile sets the references.
  __device__ __forceinline__ void add_tile(const Context& c, const T* values, const TileScores<Shape>& scores,
                                           bool first) {
    std::uint32_t weights[kM][2][4];  // m-tile, 16 tokens: the left operand of weights times values
    bool exceeded = first;
    if (!first) exceeded = __any_sync(kFullWarp, compute_weights(c, scores, weights)) != 0;
    if (exceeded) {
      move_references(c, scores);
      compute_weights(c, scores, weights);
    }
    const T* row = values + c.lane % 16 * Shape::kStride + c.lane / 16 * 8;
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
#pragma unroll
      for (int m = 0; m < kM; ++m) add_row_sums<T>(weight_[m], weights[m][k]);
    }
  }

  // Stores the label block's o_t, or its sums for the merge.
  __device__ __forceinline__ void finish(const Context& c, int block) {
    const DualSoftmaxAttentionParams& p = c.arguments.params;
    const bool whole = c.arguments.plan.token_splits == 1;
    const Rows<T> out = rows_of<T>(p.o_t, p.o_t_strides, c.share.batch, c.share.head);
    const PartialRows partial =
        partial_rows(c.arguments.label_state, c.share.token_split, c.arguments, c.share.entry, p.labels);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float sum = weight_[m][2 * half];
        const int label = c.first_label(block) + m * 16 + half * 8 + c.g;
        if (label >= c.labels) continue;
        if (whole) {
          const float factor = inverse_or_zero(sum);
#pragma unroll
          for (int d = 0; d < Shape::kDimBlocks; ++d) {
            const float* pair = &sums_[m][d][2 * half];
            *reinterpret_cast<std::uint32_t*>(out[label] + d * 8 + 2 * c.t) =
                pack<T>(pair[0] * factor, pair[1] * factor);
          }
        } else {
          float* row = partial.sums + static_cast<std::int64_t>(label) * Shape::kDim;
#pragma unroll
          for (int d = 0; d < Shape::kDimBlocks; ++d) {
            const float* pair = &sums_[m][d][2 * half];
            *reinterpret_cast<float2*>(row + d * 8 + 2 * c.t) = float2{pair[0], pair[1]};
          }
          if (c.t == 0) {
            partial.references[label] = reference_[m][half];
            partial.weights[label] = sum;
          }
        }
      }
    }
  }

 private:
  // Returns whether a weight is 2 or more.
  __device__ __forceinline__ bool compute_weights(const Context& c, const TileScores<Shape>& scores,
                                                  std::uint32_t (&weights)[kM][2][4]) const {
    std::uint32_t all = 0;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float first = exp2_approx(fmaf(scores[m][j][2 * half], c.scale, -reference_[m][half]));
          const float second = exp2_approx(fmaf(scores[m][j][2 * half + 1], c.scale, -reference_[m][half]));
          const std::uint32_t pair = pack<T>(first, second);
          weights[m][j / 2][j % 2 * 2 + half] = pair;
          all |= pair;
        }
      }
    }
    return (all & kTwoOrMore) != 0;
  }

  // Moves the references to the largest scores so far, those of the tile included, and rescales the sums.
  __device__ __forceinline__ void move_references(const Context& c, const TileScores<Shape>& scores) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      float rescale[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = scores[m][0][2 * half];
#pragma unroll
        for (int j = 0; j < 4; ++j) largest = fmaxf(largest, fmaxf(scores[m][j][2 * half], scores[m][j][2 * half + 1]));
        largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
        const float moved = finite_maximum(fmaxf(reference_[m][half], fmaf(largest, c.scale, kHeadroom)));
        rescale[half] = exp2_approx(reference_[m][half] - moved);
        reference_[m][half] = moved;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        weight_[m][i] *= rescale[i / 2];
#pragma unroll
        for (int d = 0; d < Shape::kDimBlocks; ++d) sums_[m][d][i] *= rescale[i / 2];
      }
    }
  }

  // By m-tile, and row g or g + 8.
  std::uint32_t keys_[kM][Shape::kDim / 16][4];
  float sums_[kM][Shape::kDimBlocks][4];
  float reference_[kM][2];
  float weight_[kM][4];  // the sums of the weights, see add_row_sums
  unsigned takes_part_;  // bit 2 * m-tile + half
  bool all_take_part_;
};

}  // namespace pvlr::device
