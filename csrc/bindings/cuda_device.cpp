// CUDA streams, devices and workspaces, for a core that is built with CUDA.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <mutex>

#include "device.h"
#include "tensor.h"

namespace pvlr::bindings {
namespace {

Status from_cuda(cudaError_t error, const char* refused) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();  // clears it: the caller's next check must not see it
  return {StatusCode::kLaunchFailed, refused, cudaGetErrorString(error)};
}

// Makes a device current, and restores the previous one when destroyed.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) {
    error_ = cudaGetDevice(&before_);
    if (error_ == cudaSuccess && before_ != device) {
      error_ = cudaSetDevice(device);
      changed_ = error_ == cudaSuccess;
    }
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  cudaError_t error() const { return error_; }

 private:
  int before_ = 0;
  bool changed_ = false;
  cudaError_t error_;
};

// A device's pool, created at first use. It keeps its memory: after a few launches an allocation needs no call to the
// driver.
cudaError_t find_pool(int device, cudaMemPool_t* pool) {
  static std::mutex mutex;
  static std::map<int, cudaMemPool_t> pools;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto known = pools.find(device);
  if (known != pools.end()) {
    *pool = known->second;
    return cudaSuccess;
  }
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaError_t error = cudaMemPoolCreate(pool, &properties);
  if (error != cudaSuccess) return error;
  std::uint64_t kept = UINT64_MAX;
  error = cudaMemPoolSetAttribute(*pool, cudaMemPoolAttrReleaseThreshold, &kept);
  if (error == cudaSuccess) {
    pools[device] = *pool;
  } else {
    cudaMemPoolDestroy(*pool);
  }
  return error;
}

// Makes `stream` wait for the work that is queued in `earlier` now.
cudaError_t wait_for(cudaStream_t stream, cudaStream_t earlier) {
  cudaEvent_t event = nullptr;
  cudaError_t error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  if (error != cudaSuccess) return error;
  error = cudaEventRecord(event, earlier);
  if (error == cudaSuccess) error = cudaStreamWaitEvent(stream, event, 0);
  const cudaError_t destroyed = cudaEventDestroy(event);
  return error != cudaSuccess ? error : destroyed;
}

}  // namespace

bool has_cuda() { return true; }

int device_of(const void* pointer) {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, pointer) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return attributes.device > 0 ? attributes.device : 0;
}

Status run_on_device(const std::vector<const Tensor*>& tensors, void* stream_handle, const Work& work) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    cudaGetLastError();
    return {StatusCode::kUnsupportedDevice, "device: there is no usable CUDA device"};
  }
  const int device = tensors.front()->device;
  const CurrentDevice current(device);
  if (current.error() != cudaSuccess) return from_cuda(current.error(), "device: CUDA refused to make it current");
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  const auto legacy = reinterpret_cast<std::uintptr_t>(cudaStreamLegacy);
  const auto own = stream == nullptr ? legacy : reinterpret_cast<std::uintptr_t>(stream);
  for (const Tensor* const tensor : tensors) {
    if (!tensor->ready_on || *tensor->ready_on == own) continue;
    const cudaError_t error = wait_for(stream, reinterpret_cast<cudaStream_t>(*tensor->ready_on));
    PVLR_RETURN_IF_ERROR(from_cuda(error, "stream: it cannot wait for the stream that an array is ready on"));
  }

  std::size_t bytes = 0;
  PVLR_RETURN_IF_ERROR(work.workspace(&bytes));
  if (bytes == 0) return work.device(stream_handle, nullptr, 0);
  cudaMemPool_t pool = nullptr;
  void* workspace = nullptr;
  cudaError_t error = find_pool(device, &pool);
  if (error == cudaSuccess) error = cudaMallocFromPoolAsync(&workspace, bytes, pool, stream);
  if (error != cudaSuccess) return from_cuda(error, "device: CUDA refused to allocate the workspace");
  const Status started = work.device(stream_handle, workspace, bytes);
  const Status freed = from_cuda(cudaFreeAsync(workspace, stream), "stream: CUDA refused to free the workspace");
  return started.ok() ? freed : started;
}

}  // namespace pvlr::bindings
