// Running a launcher on a CUDA device. One of cuda_device.cpp and no_cuda.cpp is linked.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "pvlr/status.h"

namespace pvlr::bindings {

struct Tensor;

// Whether the CUDA kernels are linked.
bool has_cuda();

// The device whose memory this is; 0 where that can't be told.
int device_of(const void* pointer);

struct Launch {
  std::vector<const Tensor*> tensors;  // all on one device; streams that they are ready on are waited for
  void* stream;
  std::function<Status(std::size_t* bytes)> query_workspace;
  std::function<Status(void* workspace, std::size_t bytes)> start;
};

// Makes the tensors' device current, gives the launch its workspace and queues it; nothing waits for the device. The
// workspace is allocated and freed in the stream's order, from a pool that keeps its memory, so that a launch may be
// captured in a CUDA graph. Call it without the GIL.
Status run_on_device(const Launch& launch);

}  // namespace pvlr::bindings
