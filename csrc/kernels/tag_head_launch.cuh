// Defines the launchers of one type. Included by the instantiation files only.
#pragma once

#include "tag_head_kernel.cuh"
#include "tag_head_launch.h"

namespace pvlr::device {

template <typename Shape>
Status launch_tag_head(const TagHeadParams& p, void* stream_handle) {
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  const std::int64_t blocks = p.batch * ((p.labels + Shape::kColumns - 1) / Shape::kColumns);
  PVLR_LAUNCH(tag_head<Shape>, dim3(static_cast<unsigned>(blocks)), dim3(Shape::kThreads), Shape::kSharedBytes, stream,
              p);
  return launch_status("stream: CUDA refused the launch of the tag head");
}

// Chosen by counting registers and shared memory, not by measurement.
template <typename T>
TagHeadLaunchers make_tag_head_launchers() {
  using Large = TagHeadShape<T, 64, 2, 64>;
  using Small = TagHeadShape<T, 16, 1, 128>;
  return {{Large::kColumns, &launch_tag_head<Large>}, {Small::kColumns, &launch_tag_head<Small>}};
}

}  // namespace pvlr::device
