// The tag head: a launch of its own that writes the normalised tokens and labels to the workspace, see shape.cuh.
#pragma once

#include "plan.h"
#include "rows.cuh"

namespace pvlr::device {

constexpr int kNormaliseThreads = 256;
constexpr int kNormaliseRows = kNormaliseThreads / 8;  // rows of a thread block

// 8 lanes have a row: first those of x, then those of t.
template <typename T>
__global__ void __launch_bounds__(kNormaliseThreads, 2) normalise_tag_head(const TagHeadParams p) {
  const NormalisedRows plan = plan_normalised(p);
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kNormaliseThreads + threadIdx.x;
  const bool exists = thread / 8 < plan.tokens + plan.labels;
  // Lanes without a row take the last one, since the sums need all lanes.
  const std::int64_t row = exists ? thread / 8 : plan.tokens + plan.labels - 1;
  const bool of_token = row < plan.tokens;
  const std::int64_t index = of_token ? row : row - plan.tokens;
  const std::int64_t size = of_token ? p.tokens : p.labels;
  const TagHeadStrides& strides = of_token ? p.x_strides : p.t_strides;
  const TagHeadNorm& norm = of_token ? p.x_norm : p.t_norm;
  const auto width = static_cast<int>(p.width);
  const T* const from =
      static_cast<const T*>(of_token ? p.x : p.t) + index / size * strides.batch + index % size * strides.row;
  const RowNorm of = measure_row(from, width, norm, p.epsilon);
  if (!exists) return;
  T* const to = static_cast<T*>(p.workspace) + row * p.width;
  constexpr int kVector = static_cast<int>(16 / sizeof(T));
  for (int column = static_cast<int>(threadIdx.x % 8) * kVector; column < width; column += 8 * kVector) {
    RowVector<T> vector = *reinterpret_cast<const RowVector<T>*>(from + column);
    NormVectors<T>(norm, column).apply(vector, of);
    *reinterpret_cast<RowVector<T>*>(to + column) = vector;
  }
}

// The same call on the rows that normalise_tag_head has written.
template <typename T>
TagHeadParams with_normalised_rows(TagHeadParams p) {
  const NormalisedRows plan = plan_normalised(p);
  const T* const rows = static_cast<const T*>(p.workspace);
  p.x = rows;
  p.t = rows + plan.tokens * p.width;
  p.x_strides = {p.tokens * p.width, p.width};
  p.t_strides = {p.t_strides.batch == 0 ? 0 : p.labels * p.width, p.width};
  p.x_norm = p.t_norm = {};
  return p;
}

}  // namespace pvlr::device
