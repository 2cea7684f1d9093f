// Plays the library of another major version of TensorRT, whose loggers must not be called.
#include <NvInferRuntime.h>

#include <cstdlib>

extern "C" std::int32_t getInferLibVersion() noexcept { return 90201; }

namespace {

struct OtherFinder final : nvinfer1::ILoggerFinder {
  nvinfer1::ILogger* findLogger() override { std::abort(); }
};

}  // namespace

extern "C" nvinfer1::ILoggerFinder* other_finder() {
  static OtherFinder finder;
  return &finder;
}
