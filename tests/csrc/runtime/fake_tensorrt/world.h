// What the fakes of CUDA and TensorRT count, and the faults that they inject. It lives in the fake libcudart.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <functional>

struct World {
  // Since the process began.
  std::atomic<int> device_allocations{0};
  std::atomic<int> host_allocations{0};
  std::atomic<int> contexts_created{0};
  std::atomic<int> enqueues{0};  // outside of captures
  std::atomic<int> graph_launches{0};
  std::atomic<int> downloads{0};
  std::atomic<int> runtimes{0};

  std::atomic<int> alive{0};  // allocations, streams, events, graphs, runtimes, engines and contexts that exist now

  // Faults: what is left until each of them; below zero: never.
  std::atomic<int> allocations_left{-1};
  std::atomic<int> contexts_left{-1};
  std::atomic<int> profile{-1};            // of the newest context
  std::atomic<bool> profile_shared{true};  // or a second context is refused
  std::atomic<int> enqueues_left{-1};
  std::atomic<int> launches_left{-1};  // of graphs
  std::atomic<int> waits_left{-1};     // then the context is lost
  std::atomic<int> queries_left{0};    // of events, until they have ended
  std::atomic<int> captures_left{-1};  // then the network cannot be captured
  std::atomic<bool> lost_in_capture{false};
  std::atomic<bool> lost_in_enqueue{false};
  std::atomic<int> lost{0};  // the error of every call

  // Whether a fault that has so many left happens now, and from now on.
  static bool runs_out(std::atomic<int>* left) { return *left == 0 || (*left > 0 && (*left)-- == 0); }
};

World& fake_world();

// Adds a kernel to a stream, or to the graph that the stream captures.
void fake_enqueue(cudaStream_t stream, std::function<void()> kernel);
bool fake_is_capturing(cudaStream_t stream);
// Ends the program unless so many bytes of device memory begin there.
void fake_check_device_memory(const void* memory, std::size_t bytes);
// Of the calling thread; null: the primary context of its device.
void*& fake_current_context();
[[noreturn]] void fake_fail(const char* what);

// How deep the calling thread is in the fakes: what they allocate is not the library's.
int& fake_depth();
struct FakeCall {
  FakeCall() { ++fake_depth(); }
  ~FakeCall() { --fake_depth(); }
};
