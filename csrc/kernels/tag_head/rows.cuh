// The tag head: loads rows of tokens or labels from device memory and normalises them.
#pragma once

#include "shape.cuh"

namespace pvlr::device {

// 16 bytes of a row.
template <typename T>
struct alignas(16) RowVector {
  T values[16 / sizeof(T)];
};

// Some rows of one tensor and image. Indices past the end give the last row again; those results are not used.
template <typename T>
struct TagHeadRows {
  const T* first;
  std::int64_t stride;
  int count;

  __device__ const T* operator[](int row) const { return first + min(row, count - 1) * stride; }
};

template <typename T>
__device__ TagHeadRows<T> tag_head_rows(const void* tensor, const TagHeadStrides& strides, int batch, int first,
                                        std::int64_t end) {
  const T* const image = static_cast<const T*>(tensor) + batch * strides.batch;
  return {image + first * strides.row, strides.row, static_cast<int>(end) - first};
}

// Sums over the 8 lanes that share a row.
__device__ __forceinline__ float team_sum(float value) {
#pragma unroll
  for (int bits = 1; bits < 8; bits *= 2) value += __shfl_xor_sync(kFullWarp, value, bits);
  return value;
}

// Calls action(value, column) for this lane's share of a row; 8 lanes share a row.
template <typename T, typename Action>
__device__ __forceinline__ void for_row_values(const T* row, int width, Action action) {
  constexpr int kVector = static_cast<int>(16 / sizeof(T));
  for (int column = static_cast<int>(threadIdx.x % 8) * kVector; column < width; column += 8 * kVector) {
    const RowVector<T> vector = *reinterpret_cast<const RowVector<T>*>(row + column);
#pragma unroll
    for (int i = 0; i < kVector; ++i) action(static_cast<float>(vector.values[i]), column + i);
  }
}

__device__ __forceinline__ float layer_norm(float value, const RowNorm& row, float weight, float bias) {
  return fmaf((value - row.mean) * row.inverse, weight, bias);
}

template <typename T>
__device__ __forceinline__ float sum_of_squares(const T* row, int width, const TagHeadNorm& norm, const RowNorm& of) {
  float sum = 0.0F;
  for_row_values(row, width, [&](float value, int column) {
    if (norm.weight != nullptr) value = layer_norm(value, of, norm.weight[column], norm.bias[column]);
    value *= of.lift;
    sum = fmaf(value, value, sum);
  });
  return team_sum(sum);
}

template <typename T>
__device__ RowNorm measure_row(const T* row, int width, const TagHeadNorm& norm, float epsilon) {
  const auto size = static_cast<float>(width);
  RowNorm of{0.0F, 1.0F, 1.0F, 0.0F};
  if (norm.weight != nullptr) {
    float sum = 0.0F;
    for_row_values(row, width, [&](float value, int) { sum += value; });
    of.mean = team_sum(sum) / size;
    float variance = 0.0F;
    for_row_values(row, width, [&](float value, int) {
      const float difference = value - of.mean;
      variance = fmaf(difference, difference, variance);
    });
    of.inverse = 1.0F / sqrtf(team_sum(variance) / size + epsilon);
  }
  float squares = sum_of_squares(row, width, norm, of);
  // If the squares leave the range of float32, the row is scaled and they are computed again.
  constexpr float kSmall = 1e-30F;
  constexpr float kLarge = 1e30F;
  const bool rare = squares < kSmall || squares > kLarge;
  if (__any_sync(kFullWarp, rare)) {
    if (rare) of.lift = squares < kSmall ? 0x1p100F : 0x1p-100F;
    squares = sum_of_squares(row, width, norm, of);
  }
  of.factor = squares == 0.0F ? 0.0F : sqrtf(size / squares);
  return of;
}

// Measures kCount rows, a multiple of 32, with 8 lanes per row.
template <typename Shape, int kCount, typename T>
__device__ __forceinline__ void measure_rows(const TagHeadRows<T>& rows, int width, const TagHeadNorm& norm,
                                             float epsilon, RowNorm* norms) {
  constexpr int kAtOnce = Shape::kThreads / 8;
#pragma unroll 1
  for (int first = 0; first < kCount; first += kAtOnce) {
    const int row = first + static_cast<int>(threadIdx.x) / 8;
    const RowNorm of = measure_row(rows[row], width, norm, epsilon);
    if (threadIdx.x % 8 == 0 && row < kCount) norms[row] = of;
  }
}

// Copies slices of the tile's tokens, and below them of the block's labels, to shared memory. Plain blocks have the
// registers to keep the addresses from slice to slice.
template <typename Shape>
class SliceCopies {
  using T = typename Shape::Type;

 public:
  __device__ __forceinline__ SliceCopies(const TagHeadRows<T>& tokens, const TagHeadRows<T>& labels)
      : tokens_(tokens), labels_(labels) {
    if constexpr (Shape::kPlain) {
#pragma unroll
      for (int i = 0; i < Shape::kCopies; ++i) sources_[i] = first(i) + offset();
    }
  }

  // Starts copying the next slice; columns past the width become zero.
  __device__ __forceinline__ void start(T* to, int column, int width) {
    const bool valid = column + offset() < width;
#pragma unroll
    for (int i = 0; i < Shape::kCopies; ++i) {
      const T* source;
      if constexpr (Shape::kPlain) {
        source = sources_[i];
        sources_[i] += Shape::kSlice;
      } else {
        source = first(i) + (valid ? column + offset() : 0);
      }
      if (row(i) < Shape::kRows + Shape::kColumns) {
        copy_async_16(to + row(i) * Shape::kStride + offset(), source, valid);
      }
    }
    copy_async_commit();
  }

 private:
  __device__ const T* first(int i) const {
    return i < Shape::kTokenCopies ? tokens_[row(i)] : labels_[row(i) - Shape::kRows];
  }
  static __device__ int row(int i) { return (static_cast<int>(threadIdx.x) + i * Shape::kThreads) / Shape::kVectors; }
  static __device__ int offset() { return static_cast<int>(threadIdx.x) % Shape::kVectors * Shape::kVector; }

  const TagHeadRows<T> tokens_;
  const TagHeadRows<T> labels_;
  const T* sources_[Shape::kPlain ? Shape::kCopies : 1];
};

// Weights and biases of a layer norm for the values of a vector; nothing without one.
template <typename T>
class NormVectors {
  static constexpr int kVector = static_cast<int>(16 / sizeof(T));

 public:
  __device__ __forceinline__ NormVectors(const TagHeadNorm& norm, int column) : normed_(norm.weight != nullptr) {
    if (!normed_) return;
#pragma unroll
    for (int i = 0; i < kVector / 4; ++i) {
      weight_[i] = reinterpret_cast<const RowVector<float>*>(norm.weight + column)[i];
      bias_[i] = reinterpret_cast<const RowVector<float>*>(norm.bias + column)[i];
    }
  }

  // Normalises a row's values and rounds them.
  __device__ __forceinline__ void apply(RowVector<T>& vector, const RowNorm& of) const {
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      auto value = static_cast<float>(vector.values[j]);
      if (normed_) value = layer_norm(value, of, weight_[j / 4].values[j % 4], bias_[j / 4].values[j % 4]);
      vector.values[j] = static_cast<T>(value * of.lift * of.factor);
    }
  }

 private:
  bool normed_;
  RowVector<float> weight_[kVector / 4];
  RowVector<float> bias_[kVector / 4];
};

// Normalises in place what this thread has staged.
template <typename Shape, int kCount, typename T>
__device__ __forceinline__ void normalise_rows(T* to, const RowNorm* norms, int column, int width,
                                               const TagHeadNorm& norm) {
  const int offset = static_cast<int>(threadIdx.x) % Shape::kVectors * Shape::kVector;
  if (column + offset >= width) return;
  const NormVectors<T> vectors(norm, column + offset);
#pragma unroll 1
  for (int i = 0; i < (kCount * Shape::kVectors + Shape::kThreads - 1) / Shape::kThreads; ++i) {
    const int row = (static_cast<int>(threadIdx.x) + i * Shape::kThreads) / Shape::kVectors;
    if (row >= kCount) break;
    auto* const place = reinterpret_cast<RowVector<T>*>(to + row * Shape::kStride + offset);
    RowVector<T> vector = *place;
    const RowNorm of = norms[row];
    vectors.apply(vector, of);
    *place = vector;
  }
}

}  // namespace pvlr::device
