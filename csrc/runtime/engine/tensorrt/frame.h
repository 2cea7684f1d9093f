// A frame on its way to the GPU, where a kernel preprocesses it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda.h"
#include "runtime/engine/runner.h"

namespace pvlr::runtime::tensorrt {

// All functions may throw Error, and need a cuda::DeviceScope. Allocates for the first frame, and for larger ones.
class Frame {
 public:
  // Copies the rectangle of a frame in host memory. One on the device stays where it is.
  void load(const InputFrame& frame);
  // Enqueues the upload, or the wait for the frame on the device.
  void enqueue(cudaStream_t stream) const;
  // In device memory, after what was enqueued.
  const BatchFrame& description() const { return frame_; }

 private:
  void stage();

  BatchFrame frame_{};
  std::size_t bytes_ = 0;  // to be uploaded
  std::size_t capacity_ = 0;
  cuda::HostMemory<std::uint8_t> staging_;
  cuda::DeviceMemory<std::uint8_t> memory_;
  cuda::Event written_;  // of frames on the device
};

}  // namespace pvlr::runtime::tensorrt
