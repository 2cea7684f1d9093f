// Defines the launcher of one type. Included by the instantiation files only.
#pragma once

#include "preprocess_batch_kernel.cuh"
#include "preprocess_batch_launch.h"

namespace pvlr::device {

template <typename T>
Status launch_batch_of(const BatchArguments& arguments, int count, void* stream_handle) {
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  const auto blocks = [](int size, int of_block) { return static_cast<unsigned>((size + of_block - 1) / of_block); };
  const dim3 grid(blocks(arguments.dst_width, 32), blocks(arguments.dst_height, kBatchRows),
                  static_cast<unsigned>(count));
  PVLR_LAUNCH(preprocess_batch<T>, grid, dim3(32, kBatchRows), kBatchSharedBytes, stream, arguments);
  return launch_status("stream: CUDA refused the launch of the preprocessing");
}

}  // namespace pvlr::device
