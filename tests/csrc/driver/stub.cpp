// libcuda.so.1 for machines without one: as much of CUDA's driver as the SDK calls, in the host's memory. What is wrong
// with a call (no context, an invalid handle) gets the driver's code. Built and used by test_libcuda.py.
#include <cuda.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>

#undef cuEventElapsedTime  // the newest version of it is younger than the drivers that the SDK runs on

namespace {

std::map<std::string, CUresult> failing;
std::map<std::string, int> counts;
std::set<const void*> alive;
thread_local int depth = 0;
bool capturing = false;
int unfinished = 0;   // queries of events that are not done; below zero: all
bool broken = false;  // by an error after which every call fails

CUresult answer(const char* call, bool needs_context = true) {
  ++counts[call];
  if (needs_context && depth == 0) return CUDA_ERROR_INVALID_CONTEXT;
  const auto found = failing.find(call);
  const CUresult code = found == failing.end() ? CUDA_SUCCESS : found->second;
  if (code == CUDA_ERROR_ILLEGAL_ADDRESS) broken = true;
  return broken ? CUDA_ERROR_ILLEGAL_ADDRESS : code;
}

template <typename Handle>
CUresult make(const char* call, Handle* handle, std::size_t size = 8) {
  const CUresult code = answer(call);
  if (code != CUDA_SUCCESS) return code;
  void* memory = std::malloc(size);
  std::memset(memory, 0xA5, size);
  alive.insert(memory);
  *handle = reinterpret_cast<Handle>(memory);
  return CUDA_SUCCESS;
}

template <typename Handle>
CUresult use(const char* call, Handle handle) {
  const CUresult code = answer(call);
  if (code != CUDA_SUCCESS) return code;
  return alive.count(reinterpret_cast<const void*>(handle)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

template <typename Handle>
CUresult destroy(const char* call, Handle handle) {
  const CUresult code = use(call, handle);
  if (code != CUDA_SUCCESS) return code;
  alive.erase(reinterpret_cast<const void*>(handle));
  std::free(reinterpret_cast<void*>(handle));
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

void stub_fail(const char* call, int code) {
  failing.clear();
  broken = false;
  if (code != 0) failing[call] = static_cast<CUresult>(code);
}
int stub_count(const char* call) { return counts[call]; }
void stub_unfinished(int queries) { unfinished = queries; }
int stub_alive() { return static_cast<int>(alive.size()); }

CUresult cuInit(unsigned) { return answer("cuInit", false); }
CUresult cuDriverGetVersion(int* version) { return *version = 12060, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice* device, int index) { return *device = index, CUDA_SUCCESS; }
CUresult cuDeviceGetName(char* name, int size, CUdevice) { return std::strncpy(name, "Stub", size), CUDA_SUCCESS; }
CUresult cuDeviceTotalMem(std::size_t* bytes, CUdevice) { return *bytes = 1 << 30, CUDA_SUCCESS; }
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? 8
           : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? 7
           : attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT     ? 16
                                                                       : -1;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  return *context = reinterpret_cast<CUcontext>(&alive), CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
CUresult cuCtxPushCurrent(CUcontext context) {
  if (context != reinterpret_cast<CUcontext>(&alive)) return CUDA_ERROR_INVALID_CONTEXT;
  return ++depth, CUDA_SUCCESS;
}
CUresult cuCtxPopCurrent(CUcontext* context) {
  if (depth == 0) return CUDA_ERROR_INVALID_CONTEXT;
  --depth;
  *context = reinterpret_cast<CUcontext>(&alive);
  return answer("cuCtxPopCurrent", false);
}

CUresult cuMemAlloc(CUdeviceptr* pointer, std::size_t size) { return make("cuMemAlloc", pointer, size); }
CUresult cuMemFree(CUdeviceptr pointer) { return destroy("cuMemFree", pointer); }
CUresult cuMemHostAlloc(void** pointer, std::size_t size, unsigned) { return make("cuMemHostAlloc", pointer, size); }
CUresult cuMemFreeHost(void* pointer) { return destroy("cuMemFreeHost", pointer); }
CUresult cuMemGetInfo(std::size_t* free, std::size_t* total) {
  return *free = 1 << 20, *total = 1 << 30, answer("cuMemGetInfo");
}
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, std::size_t size, CUstream stream) {
  return std::memcpy(reinterpret_cast<void*>(to), from, size), use("cuMemcpyHtoDAsync", stream);
}
CUresult cuMemcpyDtoHAsync(void* to, CUdeviceptr from, std::size_t size, CUstream stream) {
  return std::memcpy(to, reinterpret_cast<void*>(from), size), use("cuMemcpyDtoHAsync", stream);
}

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
  return flags == CU_STREAM_NON_BLOCKING ? make("cuStreamCreate", stream) : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuStreamDestroy(CUstream stream) { return destroy("cuStreamDestroy", stream); }
CUresult cuStreamSynchronize(CUstream stream) { return use("cuStreamSynchronize", stream); }

CUresult cuEventCreate(CUevent* event, unsigned flags) {
  return flags & CU_EVENT_BLOCKING_SYNC ? make("cuEventCreate", event) : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuEventDestroy(CUevent event) { return destroy("cuEventDestroy", event); }
CUresult cuEventRecord(CUevent event, CUstream stream) {
  const CUresult code = use("cuEventRecord", event);
  return code == CUDA_SUCCESS ? use("cuEventRecord", stream) : code;
}
CUresult cuEventQuery(CUevent event) {
  const CUresult code = use("cuEventQuery", event);
  return code == CUDA_SUCCESS && unfinished != 0 && unfinished-- != 0 ? CUDA_ERROR_NOT_READY : code;
}
CUresult cuEventSynchronize(CUevent event) { return use("cuEventSynchronize", event); }
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  const CUresult code = flags == 0 ? use("cuStreamWaitEvent", stream) : CUDA_ERROR_INVALID_VALUE;
  return code == CUDA_SUCCESS ? use("cuStreamWaitEvent", event) : code;
}
CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent) {
  return *milliseconds = 1.5F, use("cuEventElapsedTime", start);
}

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
  capturing = true;
  return mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL ? use("cuStreamBeginCapture", stream) : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuStreamEndCapture(CUstream, CUgraph* graph) {
  if (!capturing) return CUDA_ERROR_ILLEGAL_STATE;
  capturing = false;
  return make("cuStreamEndCapture", graph);
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec* ready, CUgraph, unsigned long long) {
  return make("cuGraphInstantiateWithFlags", ready);
}
CUresult cuGraphDestroy(CUgraph graph) { return destroy("cuGraphDestroy", graph); }
CUresult cuGraphLaunch(CUgraphExec graph, CUstream stream) {
  const CUresult code = use("cuGraphLaunch", graph);
  return code == CUDA_SUCCESS ? use("cuGraphLaunch", stream) : code;
}
CUresult cuGraphExecDestroy(CUgraphExec graph) { return destroy("cuGraphExecDestroy", graph); }

CUresult cuGetErrorString(CUresult code, const char** words) {
  static const std::map<int, const char*> known = {{1, "invalid argument"},
                                                   {2, "out of memory"},
                                                   {201, "invalid device context"},
                                                   {400, "invalid resource handle"},
                                                   {401, "the operation cannot be performed in the present state"},
                                                   {700, "an illegal memory access was encountered"},
                                                   {719, "unspecified launch failure"}};
  const auto found = known.find(code);
  *words = found == known.end() ? nullptr : found->second;
  return *words == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
}
