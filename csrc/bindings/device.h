// Runs a launcher on a CUDA device. Either cuda_device.cpp or no_cuda.cpp is linked.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "pvlr/common.h"

namespace pvlr::bindings {

struct Tensor;

// Whether the CUDA kernels are linked.
bool has_cuda();

// The device that owns the memory; 0 if it is unknown.
int device_of(const void* pointer);

// What runs on a device in a stream, with the workspace that it asks for.
struct Work {
  std::function<Status(std::size_t* bytes)> workspace;  // *bytes is 0 before the call
  std::function<Status(void* stream, void* workspace, std::size_t bytes)> device;
};

// Makes the tensors' device current, waits in the stream for those that the tensors are ready on, and queues the work
// with its workspace. The workspace is allocated and freed in stream order, from a pool that keeps its memory, so a
// launch can be captured in a CUDA graph. Nothing waits for the device. Call it without the GIL.
Status run_on_device(const std::vector<const Tensor*>& tensors, void* stream, const Work& work);

}  // namespace pvlr::bindings
