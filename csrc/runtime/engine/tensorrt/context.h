// An execution context with its own stream, device buffers and CUDA graph. The counterpart of
// pvlr_sdk/backends/tensorrt/context.py.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cuda.h"
#include "engine.h"
#include "frame.h"

namespace pvlr::runtime::tensorrt {

// The outputs of a batch, in page-locked memory.
struct Outputs {
  Outputs(const Shapes& shapes, std::int32_t batch);  // needs a cuda::DeviceScope

  cuda::HostMemory<float> logits;
  cuda::HostMemory<float> similarity;
};

// Runs batches of one size, one at a time. All functions may throw Error, and need a cuda::DeviceScope. The constructor
// alone allocates.
//
// Where possible, a CUDA graph replaces the network's launches, which cost more than the arithmetic at batch 1.
class ExecutionContext {
 public:
  ExecutionContext(const Engine& engine, const Shapes& shapes, const InputSpec& spec, std::int32_t batch);

  // Enqueues the upload of a frame, or the wait for one on the device.
  void load(const Frame& frame) const { frame.enqueue(stream_.get()); }
  // Enqueues an inference of frames that are loaded. A frame's number is its place in the batch.
  void run(const std::vector<BatchFrame>& frames, const Outputs& outputs);

  // Waits for the end of the inference: asks for a short time, and then sleeps.
  void wait() const;
  // Whether wait() would return at once, with or without an error.
  bool has_ended() const noexcept { return cudaEventQuery(end_.get()) != cudaErrorNotReady; }
  // Waits for all that was enqueued, whether it succeeded or not.
  void drain() const noexcept { static_cast<void>(cudaStreamSynchronize(stream_.get())); }

 private:
  void bind(std::int32_t batch);
  void compute();
  void enqueue();
  void synchronize() const;
  cuda::ExecutableGraph capture();

  const Engine& engine_;
  const Shapes shapes_;
  PreprocessBatchParams preprocessing_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  cuda::Stream stream_;
  cuda::Event end_;
  cuda::DeviceMemory<float> image_;
  cuda::DeviceMemory<float> logits_;
  cuda::DeviceMemory<float> similarity_;
  cuda::ExecutableGraph graph_;  // null: it could not be captured
};

}  // namespace pvlr::runtime::tensorrt
