// From a params struct to the CPU version or the CUDA launcher, without the GIL, and from a Status to an exception.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "device.h"
#include "pvlr/common.h"
#include "tensor.h"

// A launcher; null in a core without CUDA, whose run_on_device calls none.
#ifdef PVLR_NO_CUDA
#define PVLR_CUDA_LAUNCHER(name) static_cast<decltype(&name)>(nullptr)
#else
#define PVLR_CUDA_LAUNCHER(name) name
#endif

namespace pvlr::bindings {

template <typename Function>
Status without_gil(const Function& function) {
  const pybind11::gil_scoped_release release;
  return function();
}

// value_error: an argument is invalid; runtime_error: the device failed.
inline void raise_for(const Status& status) {
  if (status.ok()) return;
  if (status.code == StatusCode::kInvalidArgument) throw pybind11::value_error(status.message);
  const std::string cause = *status.cause == '\0' ? "" : std::string(" (") + status.cause + ")";
  throw std::runtime_error(status.message + cause);
}

// A CPU version fails only if memory runs out.
inline void raise_for_host(const Status& status) {
  if (status.code == StatusCode::kLaunchFailed) throw std::bad_alloc();
  raise_for(status);
}

// Runs where the tensors are; null tensors are skipped.
inline void run(const std::vector<const Tensor*>& tensors, std::uintptr_t stream, const Work& work) {
  std::vector<const Tensor*> given;
  for (const Tensor* const tensor : tensors) {
    if (tensor != nullptr) given.push_back(tensor);
  }
  for (const Tensor* const tensor : given) {
    if (tensor->on_cuda != given.front()->on_cuda || tensor->device != given.front()->device) {
      throw pybind11::value_error("device: all arrays must be on the same one");
    }
  }
  if (!given.front()->on_cuda) return raise_for_host(without_gil(work.host));
  void* const handle = reinterpret_cast<void*>(stream);
  raise_for(without_gil([&] { return run_on_device(given, handle, work); }));
}

// For kernels without a workspace.
template <typename Params>
void run(const std::vector<const Tensor*>& tensors, std::uintptr_t stream, const Params& params,
         Status (*host)(const Params&), Status (*cuda)(const Params&, void*)) {
  run(tensors, stream,
      {[&] { return host(params); }, [](std::size_t*) { return Status{}; },
       [&](void* handle, void*, std::size_t) { return cuda(params, handle); }});
}

// For kernels whose params have workspace and workspace_bytes.
template <typename Params>
void run(const std::vector<const Tensor*>& tensors, std::uintptr_t stream, Params params, Status (*host)(const Params&),
         Status (*cuda)(const Params&, void*), Status (*cuda_workspace)(const Params&, std::size_t*)) {
  run(tensors, stream,
      {[&] { return host(params); }, [&](std::size_t* bytes) { return cuda_workspace(params, bytes); },
       [&](void* handle, void* workspace, std::size_t bytes) {
         params.workspace = workspace;
         params.workspace_bytes = bytes;
         return cuda(params, handle);
       }});
}

}  // namespace pvlr::bindings
