// What a kernel source includes first: CUDA, or the CPU emulator of tests/simt with
// -DPVLR_SIMT=80, which is the compute capability that it stands for.
#pragma once

#include <cstddef>

#include "pvlr/status.h"

#if defined(PVLR_SIMT)

#include "simt.h"

#define PVLR_DYNAMIC_SHARED(name) unsigned char* const name = simt::running.shared
#define PVLR_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ((void)(stream), simt::launch(grid, block, shared_bytes, [&] { (kernel)(__VA_ARGS__); }))

namespace pvlr::device {

inline bool query_device(std::size_t* shared_bytes_per_block, int* multiprocessors, int* capability) {
  *shared_bytes_per_block = simt::device.shared_bytes_per_block;
  *multiprocessors = simt::device.multiprocessors;
  *capability = PVLR_SIMT;
  return true;
}

template <typename Kernel>
Status allow_shared_bytes(Kernel, std::size_t bytes, const char* refused) {
  return bytes <= simt::device.shared_bytes_per_block ? Status{} : Status{StatusCode::kLaunchFailed, refused};
}

inline Status launch_status(const char* refused) {
  return simt::device.refuses ? Status{StatusCode::kLaunchFailed, refused, "the emulator was told to"} : Status{};
}

}  // namespace pvlr::device

#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define PVLR_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
// clang-format off
#define PVLR_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ((kernel)<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__))
// clang-format on

namespace pvlr::device {

// Of the current device; capability is 10 * major + minor.
inline bool query_device(std::size_t* shared_bytes_per_block, int* multiprocessors, int* capability) {
  int device = 0;
  const auto good = [](cudaError_t error) {
    if (error != cudaSuccess) cudaGetLastError();  // takes it, so that it doesn't show up in the caller's next check
    return error == cudaSuccess;
  };
  if (!good(cudaGetDevice(&device))) return false;
  const auto get = [device, good](cudaDeviceAttr attribute, int* value) {
    return good(cudaDeviceGetAttribute(value, attribute, device));
  };
  int shared = 0;
  int major = 0;
  int minor = 0;
  const bool known = get(cudaDevAttrMaxSharedMemoryPerBlockOptin, &shared) &&
                     get(cudaDevAttrMultiProcessorCount, multiprocessors) &&
                     get(cudaDevAttrComputeCapabilityMajor, &major) && get(cudaDevAttrComputeCapabilityMinor, &minor);
  *shared_bytes_per_block = static_cast<std::size_t>(shared);
  *capability = 10 * major + minor;
  return known;
}

// An error of CUDA, which is taken; `refused` is the message.
inline Status cuda_status(cudaError_t error, const char* refused) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();
  const char* const cause = cudaGetErrorString(error);
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction ||
      error == cudaErrorUnsupportedPtxVersion) {
    return {StatusCode::kUnsupportedDevice,
            "device: these kernels were built for other GPUs (CMake's PVLR_CUDA_ARCHITECTURES)", cause};
  }
  return {StatusCode::kLaunchFailed, refused, cause};
}

// A kernel must be allowed more than 48 KiB of dynamic shared memory before its launch.
template <typename Kernel>
Status allow_shared_bytes(Kernel kernel, std::size_t bytes, const char* refused) {
  const auto attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
  return cuda_status(cudaFuncSetAttribute(kernel, attribute, static_cast<int>(bytes)), refused);
}

// Whether the last launch was accepted.
inline Status launch_status(const char* refused) { return cuda_status(cudaGetLastError(), refused); }

}  // namespace pvlr::device

#endif

namespace pvlr::device {

constexpr unsigned kFullWarp = 0xFFFFFFFFU;
constexpr float kLog2E = 1.4426950408889634F;

}  // namespace pvlr::device
