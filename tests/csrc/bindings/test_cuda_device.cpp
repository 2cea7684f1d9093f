// Streams, devices and workspaces of csrc/bindings/cuda_device.cpp on a CUDA runtime that only records its calls:
// the order of the queued work, and no leaks when a call fails.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <string>
#include <vector>

#include "bindings/device.h"
#include "bindings/tensor.h"

namespace {

std::string calls;  // since the last check
std::string failing;
int current_device = 0;
int failures = 0;

cudaError_t called(const std::string& name, const std::string& what = "") {
  calls += name + what + " ";
  return failing == name ? cudaErrorNotSupported : cudaSuccess;
}

template <typename Handle>
std::string number(Handle handle) {
  return std::to_string(reinterpret_cast<std::uintptr_t>(handle));
}

template <typename Handle>
Handle handle(std::uintptr_t value) {
  return reinterpret_cast<Handle>(value);
}

}  // namespace

extern "C" {
cudaError_t cudaGetLastError() { return called("last-error"); }
const char* cudaGetErrorString(cudaError_t) { return "operation not supported"; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 4;
  return failing == "count" ? cudaErrorNoDevice : cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  const cudaError_t error = called("device", std::to_string(device));
  if (error == cudaSuccess) current_device = device;
  return error;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void*) {
  attributes->device = 3;
  return called("pointer");
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  *pool = handle<cudaMemPool_t>(static_cast<std::uintptr_t>(100 + properties->location.id));
  return called("pool", std::to_string(properties->location.id));
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return called("keep"); }
cudaError_t cudaMemPoolDestroy(cudaMemPool_t) { return called("destroy-pool"); }
cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  *memory = handle<void*>(4096);
  return called("malloc", std::to_string(bytes) + "/" + number(pool) + "/" + number(stream));
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  return called("free", number(memory) + "/" + number(stream));
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = handle<cudaEvent_t>(flags == cudaEventDisableTiming ? 7 : 8);
  return called("event");
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t stream) { return called("record", number(stream)); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t, unsigned) { return called("wait", number(stream)); }
cudaError_t cudaEventDestroy(cudaEvent_t) { return called("destroy-event"); }
}

namespace {

using pvlr::Status;
using pvlr::StatusCode;
using pvlr::bindings::Tensor;

struct Call {
  int device = 0;
  std::uintptr_t stream = 9;
  std::vector<std::optional<std::uintptr_t>> ready_on{std::nullopt};
  std::size_t bytes = 64;
  Status launch{};
};

// Runs it with the named function failing, and compares what was called.
void check(const char* what, const Call& call, const std::string& expected, StatusCode code = StatusCode::kOk,
           const std::string& fails = "") {
  std::vector<Tensor> tensors(call.ready_on.size());
  std::vector<const Tensor*> pointers;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].device = call.device;
    tensors[i].ready_on = call.ready_on[i];
    pointers.push_back(&tensors[i]);
  }
  calls.clear();
  failing = fails;
  const pvlr::bindings::Work work{[&](std::size_t* bytes) {
                                    *bytes = call.bytes;
                                    return Status{};
                                  },
                                  [&](void*, void* memory, std::size_t bytes) {
                                    called("launch", number(memory) + "/" + std::to_string(bytes));
                                    return call.launch;
                                  }};
  const Status status = pvlr::bindings::run_on_device(pointers, handle<void*>(call.stream), work);
  if (calls == expected && status.code == code && current_device == 0) return;
  ++failures;
  std::printf("%s: %s\n  not %s\n  %d %s (%s), device %d\n", what, calls.c_str(), expected.c_str(),
              static_cast<int>(status.code), status.message, status.cause, current_device);
}

}  // namespace

int main() {
  constexpr auto kFailed = StatusCode::kLaunchFailed;
  Call none;
  none.bytes = 0;
  check("no workspace", none, "launch0/0 ");
  check("no device", none, "last-error ", StatusCode::kUnsupportedDevice, "count");

  // The pool is made once for each device; nothing of a failed one is kept.
  check("no pool", {}, "pool0 last-error ", kFailed, "pool");
  check("a pool that keeps nothing", {}, "pool0 keep destroy-pool last-error ", kFailed, "keep");
  check("a first workspace", {}, "pool0 keep malloc64/100/9 launch4096/64 free4096/9 ");
  check("another", {}, "malloc64/100/9 launch4096/64 free4096/9 ");
  Call other;
  other.device = 2;
  check("another device", other, "device2 pool2 keep malloc64/102/9 launch4096/64 free4096/9 device0 ");
  check("a device that is refused", other, "device2 last-error ", kFailed, "device");

  // The workspace is freed in the stream's order, whatever becomes of the launch.
  Call refused;
  refused.launch = {kFailed, "stream: refused"};
  check("a refused launch", refused, "malloc64/100/9 launch4096/64 free4096/9 ", kFailed);
  check("no memory", {}, "malloc64/100/9 last-error ", kFailed, "malloc");
  check("a workspace that stays", {}, "malloc64/100/9 launch4096/64 free4096/9 last-error ", kFailed, "free");

  // Streams that arrays are ready on are waited for, but not the launch's own; 0 and 1 are both the legacy stream.
  none.ready_on = {5, std::nullopt, 9, 6};
  check("streams", none, "event record5 wait9 destroy-event event record6 wait9 destroy-event launch0/0 ");
  check("a wait that fails", none, "event record5 wait9 destroy-event last-error ", kFailed, "wait");
  none.ready_on = {1};
  none.stream = 0;
  check("the legacy stream", none, "launch0/0 ");
  none.ready_on = {9};
  check("another stream", none, "event record9 wait0 destroy-event launch0/0 ");

  failing.clear();
  if (pvlr::bindings::device_of(&none) != 3) ++failures;
  failing = "pointer";
  if (pvlr::bindings::device_of(&none) != 0) ++failures;
  if (failures == 0) std::printf("ok\n");
  return failures != 0;
}
