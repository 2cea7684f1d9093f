// TensorRT's messages.
#pragma once

#include <NvInferRuntime.h>

#include <array>
#include <string>

namespace pvlr::runtime::tensorrt {

// The logger of this process. TensorRT keeps the first logger for the CUDA errors and the plugin registry of all
// engines, and hands it to the plugin library (csrc/plugin/tensorrt_log.h), so there is no second one and it is never
// destroyed.
nvinfer1::ILogger& logger() noexcept;

// Keeps the first error that TensorRT reports in this thread: later ones are mostly its consequences. Errors in threads
// without such an object go to standard error. Allocates nothing unless there is an error to describe.
class FirstError {
 public:
  FirstError() noexcept;
  ~FirstError();
  FirstError(const FirstError&) = delete;
  FirstError& operator=(const FirstError&) = delete;

  void add(const char* message) noexcept;

  // Throws Error: PVLR_ERROR_OUT_OF_MEMORY if that was the reason, else PVLR_ERROR_RUNTIME.
  [[noreturn]] void fail(const std::string& source, const std::string& expected) const;

  // The error, on one line.
  std::string text(const char* otherwise) const;

 private:
  std::array<char, 512> text_;
  FirstError* outer_;
};

}  // namespace pvlr::runtime::tensorrt
