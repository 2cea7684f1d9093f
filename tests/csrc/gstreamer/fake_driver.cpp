// What GStreamer's elements for CUDA call of the driver, on the fake of CUDA's runtime; joins fake_tensorrt/cuda.cpp.
// Uploads run when something waits for their stream. Downloads are printed.
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../runtime/fake_tensorrt/world.h"

namespace {

char primary[2];  // the contexts of two devices, by address
thread_local std::vector<CUcontext> before;

// Memory of other contexts is not the fake runtime's, whose kernels refuse it.
bool is_ours() { return fake_current_context() == nullptr; }

void copy_rows(const CUDA_MEMCPY2D& how, const char* from, std::size_t pitch) {
  const bool up = how.dstMemoryType == CU_MEMORYTYPE_DEVICE;
  char* const to = up ? reinterpret_cast<char*>(how.dstDevice) : static_cast<char*>(how.dstHost);
  for (std::size_t i = 0; i < how.Height; ++i) std::memcpy(to + i * how.dstPitch, from + i * pitch, how.WidthInBytes);
}

}  // namespace

#undef cuCtxCreate
extern "C" {

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int* version) { return *version = 12060, CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int* count) { return *count = 2, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice* device, int index) { return *device = index, CUDA_SUCCESS; }
CUresult cuDeviceGetName(char* name, int size, CUdevice) { return std::strncpy(name, "Fake", size), CUDA_SUCCESS; }
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute, CUdevice) { return *value = 8, CUDA_SUCCESS; }
CUresult cuDeviceCanAccessPeer(int* can, CUdevice, CUdevice) { return *can = 0, CUDA_SUCCESS; }
CUresult cuGetErrorName(CUresult, const char** name) { return *name = "an error", CUDA_SUCCESS; }
CUresult cuGetErrorString(CUresult, const char** words) { return *words = "an error", CUDA_SUCCESS; }

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  return *context = reinterpret_cast<CUcontext>(primary + device), CUDA_SUCCESS;
}
CUresult cuCtxDestroy(CUcontext context) { return std::free(context), CUDA_SUCCESS; }
CUresult cuCtxPushCurrent(CUcontext context) {
  before.push_back(static_cast<CUcontext>(fake_current_context()));
  fake_current_context() = context == reinterpret_cast<CUcontext>(primary) ? nullptr : context;
  return CUDA_SUCCESS;
}
CUresult cuCtxPopCurrent(CUcontext*) {
  fake_current_context() = before.back();
  return before.pop_back(), CUDA_SUCCESS;
}
CUresult cuCtxCreate_v2(CUcontext* context, unsigned, CUdevice) {
  *context = static_cast<CUcontext>(std::malloc(1));
  return cuCtxPushCurrent(*context);
}

CUresult cuMemAllocPitch(CUdeviceptr* pointer, std::size_t* pitch, std::size_t width, std::size_t height, unsigned) {
  *pitch = (width + 511) / 512 * 512;
  void* memory = nullptr;
  is_ours() ? static_cast<void>(cudaMalloc(&memory, *pitch * height))
            : static_cast<void>(memory = std::malloc(*pitch * height));
  return *pointer = reinterpret_cast<CUdeviceptr>(memory), CUDA_SUCCESS;
}
CUresult cuMemFree(CUdeviceptr pointer) {
  is_ours() ? static_cast<void>(cudaFree(reinterpret_cast<void*>(pointer)))
            : std::free(reinterpret_cast<void*>(pointer));
  return CUDA_SUCCESS;
}
CUresult cuMemAllocHost(void** pointer, std::size_t size) { return *pointer = std::malloc(size), CUDA_SUCCESS; }
CUresult cuMemFreeHost(void* pointer) { return std::free(pointer), CUDA_SUCCESS; }

CUresult cuStreamCreate(CUstream* stream, unsigned) {
  return static_cast<CUresult>(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
}
CUresult cuStreamDestroy(CUstream stream) { return static_cast<CUresult>(cudaStreamDestroy(stream)); }
CUresult cuStreamSynchronize(CUstream stream) { return static_cast<CUresult>(cudaStreamSynchronize(stream)); }
CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D* how, CUstream stream) {
  const bool up = how->srcMemoryType == CU_MEMORYTYPE_HOST;
  const auto* const from = up ? static_cast<const char*>(how->srcHost) : reinterpret_cast<const char*>(how->srcDevice);
  if (how->dstMemoryType == CU_MEMORYTYPE_HOST) {
    std::fprintf(stderr, "a download\n");
    cudaStreamSynchronize(stream);
  } else if (is_ours()) {
    const std::vector<char> rows(from, from + (how->Height - 1) * how->srcPitch + how->WidthInBytes);
    fake_enqueue(stream, [how = *how, rows] { copy_rows(how, rows.data(), how.srcPitch); });
    return CUDA_SUCCESS;
  }
  return copy_rows(*how, from, how->srcPitch), CUDA_SUCCESS;
}
}
