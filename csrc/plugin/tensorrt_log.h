// Messages through TensorRT's logger.
#pragma once

#include <NvInferRuntime.h>

#include <exception>

namespace pvlr::plugin {

// Finds the caller's logger. Without one, or if its TensorRT has another major version than the headers, messages go to
// standard error.
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

void log_error(const char* layer, const char* message) noexcept;

// Returns the result of `work`. TensorRT's calls must not throw: an exception becomes a message and `otherwise`.
template <typename T, typename Work>
T guarded(const char* layer, T otherwise, const Work& work) noexcept {
  try {
    return work();
  } catch (const std::exception& error) {
    log_error(layer, error.what());
  } catch (...) {
    log_error(layer, "an unknown exception");
  }
  return otherwise;
}

}  // namespace pvlr::plugin
