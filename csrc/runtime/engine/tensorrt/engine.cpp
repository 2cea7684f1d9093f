#include "engine.h"

#include <cstdlib>
#include <utility>
#include <vector>

#include "log.h"
#include "plugins.h"
#include "runtime/error.h"

namespace pvlr::runtime::tensorrt {
namespace {

using Sizes = std::vector<std::int64_t>;  // without the batch

constexpr char kLeanRuntime[] = "PVLR_LEAN_RUNTIME";

struct Tensor {
  const char* name;
  nvinfer1::TensorIOMode mode;
  Sizes sizes;
};

std::unique_ptr<nvinfer1::IRuntime> create_runtime() {
  FirstError error;
  std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::createInferRuntime(logger()));
  if (runtime == nullptr) error.fail("TensorRT", "a GPU and a driver that it supports");
  return runtime;
}

// The runtime of the version that built a version-compatible plan.
std::unique_ptr<nvinfer1::IRuntime> load_lean_runtime(nvinfer1::IRuntime& parent, const std::string& source) {
  FirstError error;
  const char* const path = std::getenv(kLeanRuntime);
  const bool named = path != nullptr && *path != '\0';
  std::unique_ptr<nvinfer1::IRuntime> lean(named ? parent.loadRuntime(path) : nullptr);
  if (lean != nullptr) return lean;
  const std::string expected =
      std::string("the TensorRT that built it, or that version's libnvinfer_lean.so in the environment variable ") +
      kLeanRuntime;
  fail(PVLR_ERROR_UNSUPPORTED, source, expected, named ? error.text("one that does not load") : "none");
}

std::string shown(const Sizes& sizes) {
  std::string text = "(batch";
  for (const std::int64_t size : sizes) text += ", " + std::to_string(size);
  return text + ")";
}

Sizes without_batch(const nvinfer1::Dims& dims) {
  return dims.nbDims < 1 ? Sizes() : Sizes(dims.d + 1, dims.d + dims.nbDims);
}

}  // namespace

Shapes::Shapes(const Manifest& manifest)
    : height(manifest.input.height),
      width(manifest.input.width),
      tokens(manifest.tensorrt->maps ? static_cast<std::int64_t>(manifest.attention.tokens()) : 0),
      labels(static_cast<std::int64_t>(manifest.labels.size())) {}

Engine::Engine(const Bundle& bundle, const Shapes& shapes, bool other_version, bool largest)
    : source_(bundle.source), runtime_(create_runtime()) {
  if (other_version) {
    parent_ = std::move(runtime_);
    runtime_ = load_lean_runtime(*parent_, source_);
  }
  // Host code in a plan would run in this process: never allow it.
  runtime_->setEngineHostCodeAllowed(false);
  const TensorRtSpec& spec = *bundle.manifest.tensorrt;
  if (!spec.plugins.empty()) register_plugins(other_version ? runtime_->getPluginRegistry() : *getPluginRegistry());
  if (spec.dla >= 0) runtime_->setDLACore(spec.dla);
  FirstError error;
  engine_.reset(runtime_->deserializeCudaEngine(bundle.plan.data(), bundle.plan.size()));
  if (engine_ == nullptr) error.fail(source_, "a plan that this TensorRT can load");
  check(shapes);
  if (largest) profile_ = engine_->getNbOptimizationProfiles() - 1;
}

std::unique_ptr<nvinfer1::IExecutionContext> Engine::create_context() const {
  FirstError error;
  std::unique_ptr<nvinfer1::IExecutionContext> context(engine_->createExecutionContext());
  if (context == nullptr) error.fail(source_, "an execution context");
  return context;
}

void Engine::check(const Shapes& shapes) const {
  const auto reject = [this](const std::string& expected, const std::string& got) {
    fail(PVLR_ERROR_INVALID_BUNDLE, source_, expected, got);
  };
  using nvinfer1::TensorIOMode;
  std::vector<Tensor> expected = {{kImage, TensorIOMode::kINPUT, {3, shapes.height, shapes.width}},
                                  {kLogits, TensorIOMode::kOUTPUT, {shapes.labels}}};
  if (shapes.tokens != 0) {
    expected.push_back({kSimilarity, TensorIOMode::kOUTPUT, {shapes.tokens, shapes.labels}});
  }
  const auto count = static_cast<std::size_t>(engine_->getNbIOTensors());
  if (count != expected.size()) {
    reject(shapes.tokens == 0 ? "the tensors image and logits" : "the tensors image, logits and similarity",
           std::to_string(count) + " tensors");
  }
  for (const Tensor& tensor : expected) {
    const std::string name = tensor.name;
    const TensorIOMode mode = engine_->getTensorIOMode(tensor.name);
    if (mode == TensorIOMode::kNONE) reject("a tensor named " + name, "none");
    if (mode != tensor.mode)
      reject(name + (name == kImage ? " as an input" : " as an output"), name == kImage ? "an output" : "an input");
    if (engine_->getTensorDataType(tensor.name) != nvinfer1::DataType::kFLOAT) {
      reject(name + " in float32", "another type");
    }
    const nvinfer1::Dims dims = engine_->getTensorShape(tensor.name);
    const Sizes got = without_batch(dims);
    if (dims.nbDims < 1 || got != tensor.sizes) reject(name + " of shape " + shown(tensor.sizes), shown(got));
  }
}

}  // namespace pvlr::runtime::tensorrt
