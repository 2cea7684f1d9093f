#include "cuda.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>

#include "runtime/error.h"

namespace pvlr::runtime::cuda {
namespace {

// Errors that make the context unusable, as in pvlr_sdk/backends/tensorrt/cuda.py: those for which CUDA's header says
// so (illegal addresses and instructions, time-outs, assertions, ...), ECC and NVLink errors, an unknown error, and a
// destroyed context. After all others it still works.
constexpr std::array<int, 19> kLosses = {4,   201, 214, 220, 226, 700, 702, 709, 710, 714,
                                         715, 716, 717, 718, 719, 721, 810, 911, 999};

// All taggers of the process share the context, so there is one loss, the first.
std::atomic<bool> lost{false};
std::mutex loss_mutex;
std::string loss;  // guarded by loss_mutex

std::string described(cudaError_t result, const char* call) {
  return std::string(call) + ": " + cudaGetErrorString(result) + " (CUDA error " +
         std::to_string(static_cast<int>(result)) + ")";
}

// What CUDA's runtime lacks, from the driver that the runtime loads too; null without a driver.
struct Driver {
  void* library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  int (*get_current)(void**) = find<int (*)(void**)>("cuCtxGetCurrent");
  int (*set_current)(void*) = find<int (*)(void*)>("cuCtxSetCurrent");

  template <typename Function>
  Function find(const char* name) const {
    return library == nullptr ? nullptr : reinterpret_cast<Function>(dlsym(library, name));
  }
};

const Driver& driver() {
  static const Driver driver;
  return driver;
}

void lose(const std::string& got) {
  const std::lock_guard<std::mutex> lock(loss_mutex);
  if (loss.empty()) loss = got;
  lost = true;
}

}  // namespace

void check(cudaError_t result, const char* call) {
  if (result == cudaSuccess) return;
  const std::string got = described(result, call);
  if (std::find(kLosses.begin(), kLosses.end(), static_cast<int>(result)) != kLosses.end()) {
    lose(got);
    require_context();
  }
  static_cast<void>(cudaGetLastError());  // the caller's own CUDA code must not find it
  if (result == cudaErrorMemoryAllocation) fail(PVLR_ERROR_OUT_OF_MEMORY, "CUDA", "enough free GPU memory", got);
  fail(PVLR_ERROR_RUNTIME, "CUDA", "a successful call", got);
}

void require_context() {
  if (!lost) return;
  const std::lock_guard<std::mutex> lock(loss_mutex);
  fail(PVLR_ERROR_DEVICE_LOST, "CUDA", "a working context", loss + ". Restart the process");
}

bool is_lost() noexcept { return lost; }

Gpu find_gpu() {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found != cudaSuccess || count == 0) {
    static_cast<void>(cudaGetLastError());
    const std::string got = found == cudaSuccess ? "no GPU" : described(found, "cudaGetDeviceCount");
    fail(PVLR_ERROR_UNSUPPORTED, "CUDA", "an NVIDIA GPU with its driver", got);
  }
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, kDevice), "cudaGetDeviceProperties");
  return {properties.name, properties.major, properties.minor, properties.multiProcessorCount};
}

DeviceScope::DeviceScope() {
  if (driver().get_current != nullptr) static_cast<void>(driver().get_current(&context_));
  check(cudaGetDevice(&before_), "cudaGetDevice");
  check(cudaSetDevice(kDevice), "cudaSetDevice");
}

DeviceScope::~DeviceScope() {
  if (context_ != nullptr) {
    static_cast<void>(driver().set_current(context_));
  } else if (before_ != kDevice) {
    static_cast<void>(cudaSetDevice(before_));
  }
}

Stream create_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return Stream(stream);
}

Event create_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventBlockingSync | cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return Event(event);
}

}  // namespace pvlr::runtime::cuda
