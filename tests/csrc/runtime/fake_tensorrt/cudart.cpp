// A fake of CUDA's runtime with what libpvlr calls. Device memory is host memory, and kernels and copies run when
// something waits for them, in the order of their stream. Addresses, sizes and the current device are checked.
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "world.h"

using Work = std::function<void()>;

struct CUstream_st {
  std::deque<Work> work;
  unsigned long long queued = 0;
  unsigned long long executed = 0;
  bool capturing = false;
  std::vector<Work> captured;

  void run(unsigned long long until) {
    while (executed < until) {
      const Work next = std::move(work.front());
      work.pop_front();
      ++executed;
      next();
    }
  }
};
struct CUevent_st {
  cudaStream_t stream = nullptr;
  unsigned long long end = 0;
};
struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};

namespace {

std::recursive_mutex mutex;
using Memory = std::map<const char*, std::size_t>;
Memory device_memory;
Memory host_memory;
thread_local int current_device = 0;

CUstream_st* known(cudaStream_t stream) {
  static CUstream_st by_default;
  return stream == nullptr ? &by_default : stream;
}

void check(const Memory& memory, const void* pointer, std::size_t bytes, const char* what) {
  const auto* const begin = static_cast<const char*>(pointer);
  auto found = memory.upper_bound(begin);
  if (found == memory.begin()) fake_fail(what);
  --found;
  if (begin + bytes > found->first + found->second) fake_fail(what);
}

cudaError_t allocate(Memory* memory, void** pointer, std::size_t bytes) {
  World& world = fake_world();
  if (World::runs_out(&world.allocations_left)) return cudaErrorMemoryAllocation;
  ++(memory == &device_memory ? world.device_allocations : world.host_allocations);
  ++world.alive;
  *pointer = std::malloc(bytes);
  std::memset(*pointer, 0xFF, bytes);  // NaN
  (*memory)[static_cast<const char*>(*pointer)] = bytes;
  return cudaSuccess;
}

cudaError_t release(Memory* memory, void* pointer) {
  if (memory->erase(static_cast<const char*>(pointer)) != 1) fake_fail("an address that was not allocated");
  --fake_world().alive;
  std::free(pointer);
  return cudaSuccess;
}

template <typename Object>
cudaError_t create(Object** object) {
  ++fake_world().alive;
  *object = new Object;
  return cudaSuccess;
}

template <typename Object>
cudaError_t destroy(Object* object) {
  --fake_world().alive;
  delete object;
  return cudaSuccess;
}

// What fails once the context is lost; all calls but those on the state of the thread.
template <typename Call>
cudaError_t guarded(const Call& call) {
  const FakeCall inside;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  const int lost = fake_world().lost;
  return lost != 0 ? static_cast<cudaError_t>(lost) : call();
}

cudaError_t run(cudaStream_t stream, unsigned long long end) {
  World& world = fake_world();
  if (stream->capturing) fake_fail("a wait in a capture");
  if (World::runs_out(&world.waits_left)) {
    world.lost = cudaErrorIllegalAddress;
    return cudaErrorIllegalAddress;
  }
  stream->run(end);
  return cudaSuccess;
}

}  // namespace

void fake_check_device_memory(const void* memory, std::size_t bytes) {
  check(device_memory, memory, bytes, "an address outside of the device's memory");
}

void*& fake_current_context() {
  thread_local void* context = nullptr;
  return context;
}

bool fake_is_capturing(cudaStream_t stream) { return stream->capturing; }

void fake_enqueue(cudaStream_t given, Work kernel) {
  CUstream_st* const stream = known(given);
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  if (fake_current_context() != nullptr) fake_fail("a launch in a context of the application");
  if (current_device != 0) fake_fail("a launch on another device than that of the stream");
  if (stream->capturing) {
    stream->captured.push_back(std::move(kernel));
  } else {
    stream->work.push_back(std::move(kernel));
    ++stream->queued;
  }
}

// ---- Devices and errors ---------------------------------------------------------------------------------------------

cudaError_t cudaGetDevice(int* device) {
  return guarded([device] {
    *device = current_device;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  fake_current_context() = nullptr;
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return static_cast<cudaError_t>(fake_world().lost.load()); }

// ---- Memory ---------------------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  return guarded([=] { return allocate(&device_memory, pointer, bytes); });
}

cudaError_t cudaFree(void* pointer) {
  return guarded([=] { return release(&device_memory, pointer); });
}

cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned) {
  return guarded([=] { return allocate(&host_memory, pointer, bytes); });
}

cudaError_t cudaFreeHost(void* pointer) {
  return guarded([=] { return release(&host_memory, pointer); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return guarded([=] {
    const bool up = kind == cudaMemcpyHostToDevice;
    check(device_memory, up ? to : from, bytes, "a copy beyond the device's memory");
    check(host_memory, up ? from : to, bytes, "a copy beyond page-locked memory");
    fake_world().downloads += !up;
    fake_enqueue(stream, [=] { std::memcpy(to, from, bytes); });
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* pointer) {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  const auto after = device_memory.upper_bound(static_cast<const char*>(pointer));
  const bool device = after != device_memory.begin() && pointer < std::prev(after)->first + std::prev(after)->second;
  found->type = device ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}

// ---- Streams and events ---------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags != cudaStreamNonBlocking) fake_fail("a stream that waits for the default stream");
  return guarded([=] { return create(stream); });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return guarded([=] {
    stream->run(stream->queued);
    return destroy(stream);
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return guarded([=] { return run(known(stream), known(stream)->queued); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return guarded([=] { return create(event); });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return guarded([=] { return destroy(event); });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return guarded([=] {
    event->stream = known(stream);
    event->end = known(stream)->queued;
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return guarded([=] { return run(event->stream, event->end); });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return guarded([=] {
    World& world = fake_world();
    return world.queries_left > 0 && world.queries_left-- > 0 ? cudaErrorNotReady : run(event->stream, event->end);
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return guarded([=] {
    fake_enqueue(stream, [from = event->stream, end = event->end] { from->run(end); });
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return guarded([=] {
    fake_enqueue(stream, [=] { function(data); });
    return cudaSuccess;
  });
}

// ---- Graphs ---------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  return guarded([=] {
    stream->capturing = true;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream->capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;  // also if the context is lost
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return guarded([=] {
    stream->capturing = false;
    create(graph);
    (*graph)->work.swap(stream->captured);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return guarded([=] {
    create(executable);
    (*executable)->work = graph->work;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return guarded([=] { return destroy(graph); });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return guarded([=] { return destroy(executable); });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return guarded([=] {
    if (World::runs_out(&fake_world().launches_left)) return cudaErrorMemoryAllocation;
    ++fake_world().graph_launches;
    for (const Work& work : executable->work) fake_enqueue(stream, work);
    return cudaSuccess;
  });
}
