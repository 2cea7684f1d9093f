// From a params struct to the CPU version or the CUDA launcher, without the GIL, and from a Status to an exception.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
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

// Runs where the tensors are; null tensors are skipped. Kernels with a `cuda_workspace` have params with workspace and
// workspace_bytes.
template <typename Params, typename Workspace = std::nullptr_t>
void run(const std::vector<const Tensor*>& tensors, std::uintptr_t stream, Params params, Status (*host)(const Params&),
         Status (*cuda)(const Params&, void*), [[maybe_unused]] Workspace cuda_workspace = nullptr) {
  std::vector<const Tensor*> given;
  std::copy_if(tensors.begin(), tensors.end(), std::back_inserter(given), [](const Tensor* t) { return t != nullptr; });
  for (const Tensor* const tensor : given) {
    if (tensor->on_cuda != given.front()->on_cuda || tensor->device != given.front()->device) {
      throw pybind11::value_error("device: all arrays must be on the same one");
    }
  }
  if (!given.front()->on_cuda) return raise_for_host(without_gil([&] { return host(params); }));
  Work work{[](std::size_t*) { return Status{}; },
            [&](void* handle, void*, std::size_t) { return cuda(params, handle); }};
  if constexpr (!std::is_null_pointer_v<Workspace>) {
    work.workspace = [&](std::size_t* bytes) { return cuda_workspace(params, bytes); };
    work.device = [&](void* handle, void* workspace, std::size_t bytes) {
      params.workspace = workspace;
      params.workspace_bytes = bytes;
      return cuda(params, handle);
    };
  }
  raise_for(without_gil([&] { return run_on_device(given, reinterpret_cast<void*>(stream), work); }));
}

}  // namespace pvlr::bindings
