// The tag head's kernel. shape.cuh explains how the work is divided.
#pragma once

#include "launchers.h"
#include "maps.cuh"
#include "normalise.cuh"
#include "pool.cuh"
#include "product.cuh"
#include "rows.cuh"

namespace pvlr::device {

// Turing's registers hold one block that normalises, or some would be spilled.
template <typename Shape>
constexpr int kResidentBlocks = Shape::kTensorCores && (Shape::kPlain || !PVLR_TURING) ? 2 : 1;

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, kResidentBlocks<Shape>) tag_head(const TagHeadParams p) {
  using T = typename Shape::Type;
  constexpr int kRows = Shape::kRows;
  constexpr int kColumns = Shape::kColumns;
  PVLR_DYNAMIC_SHARED(shared);
  auto* const slices = reinterpret_cast<T*>(shared);
  auto* const scores = reinterpret_cast<float*>(shared);
  auto* const pools = reinterpret_cast<Pool*>(shared);
  auto* const token_norms = reinterpret_cast<RowNorm*>(shared + Shape::kNorms);
  [[maybe_unused]] RowNorm* const label_norms = token_norms + kRows;

  const auto width = static_cast<int>(p.width);
  const auto tokens = static_cast<int>(p.tokens);
  const int blocks = (static_cast<int>(p.labels) + kColumns - 1) / kColumns;
  const int batch = static_cast<int>(blockIdx.x) / blocks;
  const int first_label = static_cast<int>(blockIdx.x) % blocks * kColumns;
  const float sharpness = exponent_factor<T>(p.alpha);
  const TagHeadRows<T> label_rows = tag_head_rows<T>(p.t, p.t_strides, batch, first_label, p.labels);
  const auto slice_memory = [slices](int column) { return slices + column / Shape::kSlice % 2 * Shape::kSliceSize; };

  Pool pool;
  for (int first_token = 0; first_token < tokens; first_token += kRows) {
    const TagHeadRows<T> token_rows = tag_head_rows<T>(p.x, p.x_strides, batch, first_token, tokens);
    SliceCopies<Shape> copies(token_rows, label_rows);
    copies.start(slice_memory(0), 0, width);
    if constexpr (!Shape::kPlain) {
      if (first_token == 0) measure_rows<Shape, kColumns>(label_rows, width, p.t_norm, p.epsilon, label_norms);
      measure_rows<Shape, kRows>(token_rows, width, p.x_norm, p.epsilon, token_norms);
      __syncthreads();
    }

    Product<Shape> product;
    for (int column = 0; column < width; column += Shape::kSlice) {
      T* const memory = slice_memory(column);
      copy_async_wait<0>();
      if constexpr (!Shape::kPlain) {
        normalise_rows<Shape, kRows>(memory, token_norms, column, width, p.x_norm);
        normalise_rows<Shape, kColumns>(memory + kRows * Shape::kStride, label_norms, column, width, p.t_norm);
      }
      __syncthreads();  // this slice is complete, and the previous one is no longer read
      const int next = column + Shape::kSlice;
      if (next < width) copies.start(slice_memory(next), next, width);
      product.add(memory);
    }
    __syncthreads();
    // Rows have a root mean square of 1, so their squares sum to the width.
    product.store(scores, p.scale / static_cast<float>(width));
    __syncthreads();
    const int count = min(kRows, tokens - first_token);
    pool_tile<Shape>(scores, count, sharpness, pool);
    store_map_tile<Shape>(p, batch, first_label, first_token, count, scores);
    __syncthreads();
  }

  pools[threadIdx.x] = pool;
  __syncthreads();
  const auto column = static_cast<int>(threadIdx.x);
  const bool own = column < kColumns;
  Pool* const wholes = pools + Shape::kThreads;
  if (own) {
    const Pool whole = merge_pools<Shape>(pools, column);
    wholes[column] = whole;
    if (first_label + column < p.labels) store_label(p, batch, first_label + column, whole);
  }
  __syncthreads();
  finish_maps<Shape>(p, batch, first_label, sharpness, wholes);
}

template <typename T>
Status launch_normalise(const TagHeadParams& p, void* stream_handle) {
  const NormalisedRows plan = plan_normalised(p);
  const std::int64_t blocks = (plan.tokens + plan.labels + kNormaliseRows - 1) / kNormaliseRows;
  PVLR_LAUNCH(normalise_tag_head<T>, dim3(static_cast<unsigned>(blocks)), dim3(kNormaliseThreads), 0,
              static_cast<cudaStream_t>(stream_handle), p);
  return launch_status("stream: CUDA refused the launch that normalises the rows");
}

template <typename Shape>
Status launch_tag_head(const TagHeadParams& given, void* stream_handle) {
  TagHeadParams p = given;
  if constexpr (Shape::kPlain) {
    PVLR_RETURN_IF_ERROR(launch_normalise<typename Shape::Type>(given, stream_handle));
    p = with_normalised_rows<typename Shape::Type>(given);
  }
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  const std::int64_t blocks = p.batch * ((p.labels + Shape::kColumns - 1) / Shape::kColumns);
  PVLR_LAUNCH(tag_head<Shape>, dim3(static_cast<unsigned>(blocks)), dim3(Shape::kThreads), Shape::kSharedBytes, stream,
              p);
  return launch_status("stream: CUDA refused the launch of the tag head");
}

// The shapes follow from registers and shared memory, not from measurements.
template <typename T, bool kPlain>
TagHeadLaunchers tag_head_launchers_of() {
  using Large = TagHeadShape<T, 64, 2, 64, kPlain>;
  using Small = TagHeadShape<T, 16, 1, 128, kPlain>;
  return {{Large::kColumns, &launch_tag_head<Large>}, {Small::kColumns, &launch_tag_head<Small>}};
}

template <typename T>
TagHeadLaunchers tag_head_launchers(bool normalises_ahead) {
  return normalises_ahead ? tag_head_launchers_of<T, true>() : tag_head_launchers_of<T, false>();
}

}  // namespace pvlr::device
