// A plan that TensorRT has deserialised, with its inputs and outputs checked. The counterpart of
// pvlr_sdk/backends/tensorrt/engine.py.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/engine/runner.h"

namespace pvlr::runtime::tensorrt {

// The sizes of one frame's tensors.
struct Shapes {
  explicit Shapes(const Manifest& manifest);

  std::int64_t height;
  std::int64_t width;
  std::int64_t tokens;  // 0: the plan has no similarity
  std::int64_t labels;

  // In floats.
  std::size_t image_size() const { return static_cast<std::size_t>(3 * height * width); }
  std::size_t logits_size() const { return static_cast<std::size_t>(labels); }
  std::size_t similarity_size() const { return static_cast<std::size_t>(tokens * labels); }
};

// Needs a cuda::DeviceScope.
class Engine {
 public:
  // `other_version`: an older TensorRT built the plan, whose lean runtime runs it. Throws Error: PVLR_ERROR_RUNTIME or
  // PVLR_ERROR_OUT_OF_MEMORY if TensorRT cannot load the plan, PVLR_ERROR_UNSUPPORTED if there is no lean runtime,
  // PVLR_ERROR_INVALID_BUNDLE if it is not a PVLR network.
  // `largest`: batches have the plan's largest size, and use its last optimisation profile; otherwise the first.
  Engine(const Bundle& bundle, const Shapes& shapes, bool other_version, bool largest);

  // An execution context with device memory of its own. Throws Error.
  std::unique_ptr<nvinfer1::IExecutionContext> create_context() const;

  const std::string& source() const { return source_; }
  std::int32_t profile() const { return profile_; }

 private:
  void check(const Shapes& shapes) const;

  std::string source_;
  std::int32_t profile_ = 0;
  std::unique_ptr<nvinfer1::IRuntime> parent_;  // of a lean runtime, which it outlives; else null
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
};

}  // namespace pvlr::runtime::tensorrt
