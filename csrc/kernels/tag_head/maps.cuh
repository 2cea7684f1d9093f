// The tag head: attention maps. Similarities are written tile by tile, and turned into weights at the end, each by the
// thread that wrote it. Neighbouring lanes write neighbouring addresses, whichever of the two axes is contiguous.
#pragma once

#include "pool.cuh"

namespace pvlr::device {

// Whether the maps of all labels are wanted, with neighbouring labels at neighbouring addresses.
__device__ __forceinline__ bool maps_are_rows_of_labels(const TagHeadParams& p) {
  return p.chosen == nullptr && p.maps_label_stride == 1 && p.maps_token_stride != 1;
}

// Calls action(n, column, to) for the tokens [begin, end) and this block's labels: lanes run over labels, and a token
// and label always belong to the same thread, if `begin` is a multiple of kRows.
template <typename Shape, typename Action>
__device__ __forceinline__ void for_label_rows(const TagHeadParams& p, int batch, int first_label, int begin, int end,
                                               Action action) {
  const int column = static_cast<int>(threadIdx.x) % Shape::kColumns;
  const int label = first_label + column;
  if (label >= p.labels || label >= p.maps_count) return;
  float* const map = p.maps + batch * p.maps_batch_stride + label;
  for (int n = begin + static_cast<int>(threadIdx.x) / Shape::kColumns; n < end; n += Shape::kParts) {
    action(n, column, map + n * p.maps_token_stride);
  }
}

// The same for any layout and choice: a warp takes a map, and its lanes run over tokens.
template <typename Shape, typename Action>
__device__ __forceinline__ void for_maps(const TagHeadParams& p, int batch, int first_label, int begin, int end,
                                         Action action) {
  const auto count = static_cast<int>(p.maps_count);
  const int last_label = min(first_label + Shape::kColumns, static_cast<int>(p.labels));
  const int first_map = p.chosen == nullptr ? first_label : 0;
  const int last_map = p.chosen == nullptr ? min(last_label, count) : count;
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int first = first_map; first < last_map; first += 32) {
    const int map = first + lane;
    const int label = map >= last_map ? -1 : p.chosen == nullptr ? map : p.chosen[map];
    const unsigned own = __ballot_sync(kFullWarp, label >= first_label && label < last_label);
    for (int i = static_cast<int>(threadIdx.x) / 32; i < 32; i += Shape::kThreads / 32) {
      if ((own >> i & 1U) == 0) continue;
      const int column = __shfl_sync(kFullWarp, label, i) - first_label;
      float* const to = p.maps + batch * p.maps_batch_stride + (first + i) * p.maps_label_stride;
      for (int n = begin + lane; n < end; n += 32) action(n, column, to + n * p.maps_token_stride);
    }
  }
}

template <typename Shape, typename Action>
__device__ __forceinline__ void for_own_maps(const TagHeadParams& p, int batch, int first_label, int begin, int end,
                                             Action action) {
  if (p.maps == nullptr) return;
  if (maps_are_rows_of_labels(p)) {
    for_label_rows<Shape>(p, batch, first_label, begin, end, action);
  } else {
    for_maps<Shape>(p, batch, first_label, begin, end, action);
  }
}

// Similarities of a tile.
template <typename Shape>
__device__ __forceinline__ void store_map_tile(const TagHeadParams& p, int batch, int first_label, int first_token,
                                               int count, const float* scores) {
  for_own_maps<Shape>(p, batch, first_label, first_token, first_token + count,
                      [&](int n, int column, float* to) { *to = scores[Shape::score_index(n - first_token, column)]; });
}

// Converts similarities to weights.
template <typename Shape>
__device__ __forceinline__ void finish_maps(const TagHeadParams& p, int batch, int first_label, float sharpness,
                                            const Pool* wholes) {
  if (p.maps_kind != TagHeadMap::kWeights) return;
  for_own_maps<Shape>(p, batch, first_label, 0, static_cast<int>(p.tokens), [&](int, int column, float* to) {
    const Pool whole = wholes[column];
    const float exponent = fmaf(*to, sharpness, -subtracted(whole.maximum));
    *to = exponential<typename Shape::Type>(exponent) / whole.weight;
  });
}

}  // namespace pvlr::device
