// The interface of an inference engine: what a tagger needs of a loaded network.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "pvlr/preprocess.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/open_labels.h"

namespace pvlr::runtime {

// The names of a network's tensors.
constexpr char kImage[] = "image";            // (batch, 3, height, width)
constexpr char kLogits[] = "logits";          // (batch, labels)
constexpr char kSimilarity[] = "similarity";  // (batch, tokens, labels)

constexpr std::chrono::milliseconds kForever = std::chrono::milliseconds::max();

// A frame, or a rectangle of it, and where its planes are.
struct InputFrame : BatchFrame {
  bool on_device;  // in the memory of GPU 0
  void* stream;    // if so: the CUDA stream that writes them
};

// What an open network reads of a label bank: computed once for a bank, and shared by requests.
class LabelTensors {
 public:
  virtual ~LabelTensors() = default;
};

// The buffers of one inference; belongs to one thread at a time. All functions may throw Error.
class Request {
 public:
  virtual ~Request() = default;

  // Reads a frame, before start(). One on a device must stay as it is until wait() has returned true.
  virtual void load(const InputFrame& frame) = 0;
  // Selects the labels of the next inferences; null for a closed network.
  virtual void use(const std::shared_ptr<const LabelTensors>&) {}
  // Starts the inference and returns before it has ended.
  virtual void start() = 0;
  // Waits for the inference, and returns whether it has ended within the time. Then the outputs are valid until the
  // next start().
  virtual bool wait(std::chrono::milliseconds timeout) = 0;
  virtual const float* logits() const = 0;      // (C,), C as Manifest::room()
  virtual const float* similarity() const = 0;  // (N, C)
};

struct EngineOptions {
  std::string precision;  // "auto", "fp32", "fp16", "bf16" or "int8"; empty: the plan's own
  bool throughput;
  std::int32_t threads;  // 0: the cores that this process may use
  bool allow_unsigned;   // load a plan that is code
};

struct EngineInfo {
  std::string precision;  // that it computes in: a key of the manifest's golden.tolerance
  std::int32_t threads;
  std::int32_t parallel;  // concurrent inferences that keep it busy
};

// A loaded network. Safe to use from several threads at once.
class Runner {
 public:
  virtual ~Runner() = default;

  virtual const EngineInfo& info() const = 0;
  virtual std::unique_ptr<Request> create_request() = 0;
  // For Request::use; null for a closed network.
  virtual std::shared_ptr<const LabelTensors> read_labels(const LabelInputs&) { return nullptr; }
};

// Loads a plan of the backend openvino. Throws Error: PVLR_ERROR_INVALID_BUNDLE if the plan is not a PVLR network,
// PVLR_ERROR_UNSUPPORTED if this machine does not run it in that precision, PVLR_ERROR_RUNTIME if it does not compile.
std::unique_ptr<Runner> load_openvino(const Bundle& bundle, const EngineOptions& options);

// Loads a plan of the backend tensorrt. Throws Error: PVLR_ERROR_UNSUPPORTED if the plan does not run on this machine
// or the library was built without TensorRT, PVLR_ERROR_NOT_SIGNED if it may not be loaded, PVLR_ERROR_INVALID_BUNDLE
// if it is not a PVLR network, PVLR_ERROR_OUT_OF_MEMORY, PVLR_ERROR_DEVICE_LOST or PVLR_ERROR_RUNTIME if the GPU or
// TensorRT fails.
std::unique_ptr<Runner> load_tensorrt(const Bundle& bundle, const EngineOptions& options);

}  // namespace pvlr::runtime
