// The tag head: products of a slice of tokens and labels, and their sums.
#pragma once

#include "shape.cuh"

namespace pvlr::device {

// On tensor cores: a warp has kMTiles x kNTiles tiles of 16 tokens x 8 labels, in the fragments of mma.m16n8k16.
template <typename Shape>
class MmaProduct {
  using T = typename Shape::Type;

 public:
  __device__ void add(const T* slice) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const T* const tokens = slice + (first_row() + lane % 16) * Shape::kStride + lane / 16 * 8;
    const T* const labels = slice + Shape::kRows * Shape::kStride +
                            (first_column() + lane / 16 * 8 + lane % 8) * Shape::kStride + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < Shape::kSlice; k += 16) {
      std::uint32_t a[Shape::kMTiles][4];
#pragma unroll
      for (int m = 0; m < Shape::kMTiles; ++m) ldmatrix_x4(a[m], tokens + m * 16 * Shape::kStride + k);
#pragma unroll
      for (int n = 0; n < Shape::kNTiles; n += 2) {
        std::uint32_t b[4];
        ldmatrix_x4(b, labels + n * 8 * Shape::kStride + k);
#pragma unroll
        for (int m = 0; m < Shape::kMTiles; ++m) {
          mma_m16n8k16<T>(sums_[m][n], a[m], b[0], b[1]);
          mma_m16n8k16<T>(sums_[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }
  }

  __device__ void store(float* scores, float factor) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int row = first_row() + lane / 4;
    const int column = first_column() + lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < Shape::kMTiles; ++m) {
#pragma unroll
      for (int n = 0; n < Shape::kNTiles; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float* const pair = &sums_[m][n][2 * half];
          *reinterpret_cast<float2*>(scores + Shape::score_index(row + m * 16 + half * 8, column + n * 8)) =
              float2{pair[0] * factor, pair[1] * factor};
        }
      }
    }
  }

 private:
  __device__ static int first_row() {
    return static_cast<int>(threadIdx.x) / 32 / Shape::kLabelWarps * Shape::kMTiles * 16;
  }
  __device__ static int first_column() {
    return static_cast<int>(threadIdx.x) / 32 % Shape::kLabelWarps * Shape::kNTiles * 8;
  }

  float sums_[Shape::kMTiles][Shape::kNTiles][4] = {};
};

// Without tensor cores: a thread has kOwnRows adjacent tokens and every 16th label. Each slice is summed separately
// first, which keeps rounding errors small.
template <typename Shape>
class Fp32Product {
 public:
  __device__ void add(const float* slice) {
    const float* const tokens = slice + first_row() * Shape::kStride;
    const float* const labels = slice + (Shape::kRows + first_column()) * Shape::kStride;
    float partial[Shape::kOwnRows][Shape::kOwnColumns] = {};
#pragma unroll 1
    for (int k = 0; k < Shape::kSlice; k += 4) {
      float4 label[Shape::kOwnColumns];
#pragma unroll
      for (int j = 0; j < Shape::kOwnColumns; ++j) {
        label[j] = *reinterpret_cast<const float4*>(labels + j * 16 * Shape::kStride + k);
      }
#pragma unroll
      for (int i = 0; i < Shape::kOwnRows; ++i) {
        const auto token = *reinterpret_cast<const float4*>(tokens + i * Shape::kStride + k);
#pragma unroll
        for (int j = 0; j < Shape::kOwnColumns; ++j) {
          partial[i][j] = fmaf(token.x, label[j].x, partial[i][j]);
          partial[i][j] = fmaf(token.y, label[j].y, partial[i][j]);
          partial[i][j] = fmaf(token.z, label[j].z, partial[i][j]);
          partial[i][j] = fmaf(token.w, label[j].w, partial[i][j]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < Shape::kOwnRows; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::kOwnColumns; ++j) sums_[i][j] += partial[i][j];
    }
  }

  __device__ void store(float* scores, float factor) const {
#pragma unroll
    for (int i = 0; i < Shape::kOwnRows; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::kOwnColumns; ++j) {
        scores[Shape::score_index(first_row() + i, first_column() + j * 16)] = sums_[i][j] * factor;
      }
    }
  }

 private:
  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / 16 * Shape::kOwnRows; }
  __device__ static int first_column() { return static_cast<int>(threadIdx.x) % 16; }

  float sums_[Shape::kOwnRows][Shape::kOwnColumns] = {};
};

template <typename Shape>
using Product = std::conditional_t<Shape::kTensorCores, MmaProduct<Shape>, Fp32Product<Shape>>;

}  // namespace pvlr::device
