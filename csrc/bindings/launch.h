// From a params struct to the host's twin or the CUDA launcher, without the GIL, and back to Python's exceptions.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "device.h"
#include "pvlr/status.h"
#include "tensor.h"

namespace pvlr::bindings {

// What can be run: on the CPU, or on the device in a stream, with the workspace that it asks for.
struct Work {
  std::function<Status()> host;
  std::function<Status(std::size_t* bytes)> workspace;
  std::function<Status(void* stream, void* workspace, std::size_t bytes)> device;
};

// Runs where the tensors are; null tensors are left out. value_error: an argument; runtime_error: the device.
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
  Status status;
  if (given.front()->on_cuda) {
    void* const handle = reinterpret_cast<void*>(stream);
    const pybind11::gil_scoped_release release;
    status = run_on_device({given, handle, work.workspace,
                            [&](void* workspace, std::size_t bytes) { return work.device(handle, workspace, bytes); }});
  } else {
    const pybind11::gil_scoped_release release;
    status = work.host();
    if (status.code == StatusCode::kLaunchFailed) throw std::bad_alloc();
  }
  if (status.ok()) return;
  if (status.code == StatusCode::kInvalidArgument) throw pybind11::value_error(status.message);
  const std::string cause = *status.cause == '\0' ? "" : std::string(" (") + status.cause + ")";
  throw std::runtime_error(status.message + cause);
}

template <typename Params>
struct Launchers {
  Status (*host)(const Params&);
  Status (*workspace)(const Params&, std::size_t*);
  Status (*cuda)(const Params&, void*);
};

// For kernels whose params have workspace and workspace_bytes.
template <typename Params>
void run(const std::vector<const Tensor*>& tensors, std::uintptr_t stream, Params params,
         const Launchers<Params>& launchers) {
  run(tensors, stream,
      {[&] { return launchers.host(params); }, [&](std::size_t* bytes) { return launchers.workspace(params, bytes); },
       [&](void* handle, void* workspace, std::size_t bytes) {
         params.workspace = workspace;
         params.workspace_bytes = bytes;
         return launchers.cuda(params, handle);
       }});
}

}  // namespace pvlr::bindings
