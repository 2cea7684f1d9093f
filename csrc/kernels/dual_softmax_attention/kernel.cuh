// Dual-softmax attention: the launchers of one type and head dimension, for tensor cores and float32.
#pragma once

#include "fp32_kernel.cuh"
#include "launchers.h"
#include "merge.cuh"
#include "mma_kernel.cuh"

namespace pvlr::device {

template <typename T, int kDim>
Status launch_merge(const AttentionArguments& a, cudaStream_t stream) {
  const DualSoftmaxAttentionParams& p = a.params;
  const std::int64_t rows =
      p.batch * p.heads * ((a.plan.label_splits > 1 ? p.tokens : 0) + (a.plan.token_splits > 1 ? p.labels : 0));
  if (rows == 0) return {};
  const auto blocks = static_cast<unsigned>(divide_up(rows, kMergeThreads / 32));
  PVLR_LAUNCH((merge_attention<T, kDim>), dim3(blocks), dim3(kMergeThreads), 0, stream, a);
  return launch_status("stream: CUDA refused the launch of the merge");
}

template <typename T, typename Shape>
Status launch_attention(const AttentionArguments& a, void* stream_handle) {
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  const std::int64_t blocks = a.params.batch * a.params.heads * a.plan.label_splits * a.plan.token_splits;
  const auto grid = dim3(static_cast<unsigned>(blocks));
  const auto launch = [&](auto kernel) {
    constexpr const char* kRefused = "stream: CUDA refused the launch of the attention";
    PVLR_RETURN_IF_ERROR(allow_shared_bytes(kernel, Shape::kSharedBytes, kRefused));
    PVLR_LAUNCH(kernel, grid, dim3(Shape::kThreads), Shape::kSharedBytes, stream, a);
    return launch_status(kRefused);
  };
  Status launched;
  if constexpr (std::is_same_v<T, float>) {
    launched = launch(fp32_attention<Shape>);
  } else {
    launched = launch(mma_attention<Shape>);
  }
  return launched.ok() ? launch_merge<T, Shape::kDim>(a, stream) : launched;
}

template <typename T, typename Shape>
AttentionLauncher make_launcher() {
  return {Shape::kColumns, Shape::kResident, Shape::kSharedBytes, &launch_attention<T, Shape>};
}

// Warps, m-tiles per warp and stages follow from registers and shared memory, not from measurements: the small shape
// needs at most 64 KiB (Turing), the large one about 100 KiB.
template <typename T, int kDim>
AttentionLaunchers attention_launchers() {
  if constexpr (std::is_same_v<T, float>) {
    const AttentionLauncher only = make_launcher<T, Fp32Shape<kDim>>();
    return {only, only, only};
  } else {
    using Large = MmaShape<T, kDim, 8, kDim <= 64 ? 2 : 1, 2>;
    using Small = MmaShape<T, kDim, 4, 1, kDim == 128 ? 1 : 2>;
    using Tiny = std::conditional_t<kDim <= 64, MmaShape<T, kDim, 2, 1, 2>, Small>;
    static_assert(Small::kSharedBytes <= kTuringSharedBytes && Tiny::kSharedBytes <= kTuringSharedBytes);
    return {make_launcher<T, Large>(), make_launcher<T, Small>(), make_launcher<T, Tiny>()};
  }
}

}  // namespace pvlr::device
