// The CUDA calls of the TensorRT runner: their errors become the library's, and what they create frees itself.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>

namespace pvlr::runtime::cuda {

// Checks the result of a CUDA call, which the message names. Throws Error: PVLR_ERROR_OUT_OF_MEMORY;
// PVLR_ERROR_DEVICE_LOST if no later call can succeed, which the process remembers; else PVLR_ERROR_RUNTIME.
void check(cudaError_t result, const char* call);

// Throws Error (PVLR_ERROR_DEVICE_LOST) if the CUDA context of this process is lost.
void require_context();
bool is_lost() noexcept;

// The GPU that plans run on: device 0, as in Python. CUDA_VISIBLE_DEVICES selects it.
constexpr int kDevice = 0;

struct Gpu {
  std::string name;
  int major;  // of the compute capability
  int minor;
  int multiprocessors;
};

// Throws Error: PVLR_ERROR_UNSUPPORTED without a GPU or its driver.
Gpu find_gpu();

// Makes kDevice and its primary context current in the calling thread; the end of the scope restores the caller's,
// which may be a context that the application has created on the same device. Throws Error.
class DeviceScope {
 public:
  DeviceScope();
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = kDevice;
  void* context_ = nullptr;  // CUcontext
};

// The results are ignored: what cannot be freed belongs to a lost context.
struct Destroy {
  void operator()(cudaStream_t stream) const noexcept { static_cast<void>(cudaStreamDestroy(stream)); }
  void operator()(cudaEvent_t event) const noexcept { static_cast<void>(cudaEventDestroy(event)); }
  void operator()(cudaGraph_t graph) const noexcept { static_cast<void>(cudaGraphDestroy(graph)); }
  void operator()(cudaGraphExec_t graph) const noexcept { static_cast<void>(cudaGraphExecDestroy(graph)); }
};
struct FreeDevice {
  void operator()(void* memory) const noexcept { static_cast<void>(cudaFree(memory)); }
};
struct FreeHost {
  void operator()(void* memory) const noexcept { static_cast<void>(cudaFreeHost(memory)); }
};

template <typename Handle>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy>;
using Stream = Owned<cudaStream_t>;
using Event = Owned<cudaEvent_t>;
using Graph = Owned<cudaGraph_t>;
using ExecutableGraph = Owned<cudaGraphExec_t>;
template <typename T>
using DeviceMemory = std::unique_ptr<T, FreeDevice>;
template <typename T>
using HostMemory = std::unique_ptr<T, FreeHost>;

// All of them throw Error, and need a DeviceScope.
Stream create_stream();  // does not synchronise with the default stream
Event create_event();    // waiting sleeps: the cores are for decoding and preprocessing
template <typename T>
DeviceMemory<T> allocate_device(std::size_t count) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, count * sizeof(T)), "cudaMalloc");
  return DeviceMemory<T>(static_cast<T*>(memory));
}
template <typename T>
HostMemory<T> allocate_host(std::size_t count) {  // page-locked
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, count * sizeof(T), cudaHostAllocDefault), "cudaHostAlloc");
  return HostMemory<T>(static_cast<T*>(memory));
}

}  // namespace pvlr::runtime::cuda
