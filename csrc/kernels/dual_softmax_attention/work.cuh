// What the kernels of dual-softmax attention share: a thread block's rows and its share of the work.
#pragma once

#include "kernels/common/platform.cuh"
#include "plan.h"

namespace pvlr::device {

// One batch entry and head of a tensor.
template <typename T>
struct Rows {
  T* first;
  std::int64_t stride;

  __device__ T* operator[](int row) const { return first + row * stride; }
};

// T is const for inputs.
template <typename T, typename Memory>
__device__ Rows<T> rows_of(Memory* tensor, const AttentionStrides& strides, int batch, int head) {
  return {static_cast<T*>(tensor) + batch * strides.batch + head * strides.head, strides.row};
}

// The work of one thread block.
struct Share {
  int entry;  // batch * heads + head
  int batch;
  int head;
  int label_split;
  int token_split;
  int block_begin, block_end;  // label blocks
  int tile_begin, tile_end;    // of tokens
};

__device__ __forceinline__ Share find_share(const AttentionArguments& arguments) {
  const AttentionPlan& plan = arguments.plan;
  const int heads = static_cast<int>(arguments.params.heads);
  const int splits = plan.label_splits * plan.token_splits;
  const int index = static_cast<int>(blockIdx.x);
  Share share;
  share.entry = index / splits;
  share.batch = share.entry / heads;
  share.head = share.entry % heads;
  share.label_split = index % splits % plan.label_splits;
  share.token_split = index % splits / plan.label_splits;
  share.block_begin = share.label_split * plan.blocks_per_split;
  share.block_end = min(share.block_begin + plan.blocks_per_split, plan.label_blocks);
  share.tile_begin = share.token_split * plan.tiles_per_split;
  share.tile_end = min(share.tile_begin + plan.tiles_per_split, plan.tiles);
  return share;
}

// This entry's rows of the workspace, for one split; null if nothing is split.
__device__ __forceinline__ PartialRows partial_rows(const PartialRows& state, int split, const AttentionArguments& a,
                                                    int entry, std::int64_t size) {
  if (state.sums == nullptr) return {};
  const std::int64_t first = (split * a.params.batch * a.params.heads + entry) * size;
  return {state.sums + first * a.params.dim, state.references + first, state.weights + first};
}

__device__ __forceinline__ bool label_takes_part(const DualSoftmaxAttentionParams& p, int batch, int label) {
  return label < p.labels && (p.mask == nullptr || p.mask[batch * p.mask_batch_stride + label] != 0);
}

// A maximum to subtract: that of a fully masked row is -infinity, which would give NaN.
__device__ __forceinline__ float finite_maximum(float maximum) { return maximum == -INFINITY ? 0.0F : maximum; }

__device__ __forceinline__ float inverse_or_zero(float sum) { return sum == 0.0F ? 0.0F : 1.0F / sum; }

}  // namespace pvlr::device
