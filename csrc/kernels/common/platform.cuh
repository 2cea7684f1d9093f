// What a kernel source includes first: CUDA, or with -DPVLR_SIMT=80 the thread emulator for the CPU, which then stands
// for a device of compute capability 8.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "pvlr/common.h"

namespace pvlr::device {

struct DeviceProperties {
  std::size_t shared_bytes;  // the most that a thread block can have
  int multiprocessors;
  int capability;  // 10 * major + minor
};

}  // namespace pvlr::device

#if defined(PVLR_SIMT)

#include "emulator/simt.h"

#define PVLR_DYNAMIC_SHARED(name) unsigned char* const name = simt::running.shared
#define PVLR_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ((void)(stream), simt::launch(grid, block, shared_bytes, [&] { (kernel)(__VA_ARGS__); }))

namespace pvlr::device {

inline bool query_device(DeviceProperties* found) {
  *found = {simt::device.shared_bytes_per_block, simt::device.multiprocessors, PVLR_SIMT};
  return true;
}

template <typename Kernel>
Status allow_shared_bytes(Kernel, std::size_t bytes, const char* refused) {
  return bytes <= simt::device.shared_bytes_per_block ? Status{} : Status{StatusCode::kLaunchFailed, refused};
}

inline Status launch_status(const char* refused) {
  return simt::device.refuses ? Status{StatusCode::kLaunchFailed, refused, "the emulator is set to refuse launches"}
                              : Status{};
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

inline bool query_device(DeviceProperties* found) {
  int device = 0;
  const auto good = [](cudaError_t error) {
    if (error != cudaSuccess) cudaGetLastError();  // clears it: the caller's next check must not see it
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
                     get(cudaDevAttrMultiProcessorCount, &found->multiprocessors) &&
                     get(cudaDevAttrComputeCapabilityMajor, &major) && get(cudaDevAttrComputeCapabilityMinor, &minor);
  found->shared_bytes = static_cast<std::size_t>(shared);
  found->capability = 10 * major + minor;
  return known;
}

// Clears the error; `refused` becomes the message.
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

using float32 = float;
using float16 = __half;
using bfloat16 = __nv_bfloat16;

// Calls function(a value of the element type).
template <typename Function>
auto with_element_type(DataType type, const Function& function) {
  if (type == DataType::kFloat16) return function(float16{});
  if (type == DataType::kBfloat16) return function(bfloat16{});
  return function(float32{});
}

// Whether rows can be read 16 bytes at a time; strides are in elements.
inline bool aligned(const void* pointer, DataType type, std::initializer_list<std::int64_t> strides = {}) {
  const std::int64_t elements = type == DataType::kFloat32 ? 4 : 8;  // in 16 bytes
  bool fits = reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
  for (const std::int64_t stride : strides) fits = fits && stride % elements == 0;
  return fits;
}

// Whether the workspace of a launch has the `needed` bytes; `too_small` is the message if not.
template <typename Params>
Status check_workspace(const Params& params, std::size_t needed, const char* too_small) {
  if (needed == 0) return {};
  if (params.workspace == nullptr || params.workspace_bytes < needed)
    return {StatusCode::kWorkspaceTooSmall, too_small};
  return aligned(params.workspace, DataType::kFloat32) ? Status{} : invalid("workspace: must be aligned to 16 bytes");
}

// The current device. Refused: none, or one that the kernels do not support.
inline Status find_device(DeviceProperties* found) {
  if (!query_device(found)) return {StatusCode::kUnsupportedDevice, "device: there is no usable CUDA device"};
  if (found->capability >= 75) return {};
  return {StatusCode::kUnsupportedDevice, "device: needs compute capability 7.5 or later"};
}

}  // namespace pvlr::device
