// Objects that the tests pass to TensorRT's interfaces: the logger, plugins, tensor descriptions, sizes.
#pragma once

#include <NvInferRuntime.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "launchers.h"

using namespace nvinfer1;

extern "C" IPluginCreatorInterface* const* getCreators(std::int32_t& count);
extern "C" void setLoggerFinder(ILoggerFinder* finder);
extern "C" const char* pvlr_plugins_about();
extern "C" ILoggerFinder* other_finder();  // of another version

struct Logger final : ILogger {
  std::vector<std::string> errors;
  void log(Severity severity, const char* message) noexcept override {
    if (severity == Severity::kERROR) errors.emplace_back(message);
  }
};

struct Finder final : ILoggerFinder {
  Logger logger;
  bool broken = false;
  ILogger* findLogger() override {
    if (broken) throw std::runtime_error("no logger");
    return &logger;
  }
};

inline Finder finder;

// The one message since the last call, and that it begins so.
inline void expect_error(const std::string& beginning) {
  expect(finder.logger.errors.size() == 1, std::to_string(finder.logger.errors.size()) + " messages for " + beginning);
  for (const std::string& message : finder.logger.errors) expect_begins(message, beginning);
  finder.logger.errors.clear();
}

inline IPluginCreatorV3One* creator(const char* name) {
  std::int32_t count = 0;
  IPluginCreatorInterface* const* all = getCreators(count);
  for (int i = 0; i < count; ++i) {
    auto* one = static_cast<IPluginCreatorV3One*>(all[i]);
    if (std::strcmp(one->getPluginName(), name) == 0) return one;
  }
  std::printf("FAILED: no creator of %s\n", name);
  std::exit(1);
}

inline std::unique_ptr<IPluginV3> create(const char* name, std::vector<PluginField> fields) {
  const PluginFieldCollection collection{static_cast<std::int32_t>(fields.size()), fields.data()};
  return std::unique_ptr<IPluginV3>(creator(name)->createPlugin("node", &collection, TensorRTPhase::kBUILD));
}

inline std::unique_ptr<IPluginV3> attention(std::int32_t heads = 2) {
  return create("DualSoftmaxAttention", {{"heads", &heads, PluginFieldType::kINT32, 1}});
}

template <typename Capability>
Capability& capability(IPluginV3& plugin, PluginCapabilityType type) {
  return *static_cast<Capability*>(plugin.getCapabilityInterface(type));
}
inline IPluginV3OneCore& core(IPluginV3& plugin) {
  return capability<IPluginV3OneCore>(plugin, PluginCapabilityType::kCORE);
}
inline IPluginV3OneBuild& build(IPluginV3& plugin) {
  return capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
}
inline IPluginV3OneRuntime& runtime(IPluginV3& plugin) {
  return capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
}

inline Dims dims(std::initializer_list<std::int64_t> sizes) {
  Dims result{};
  for (const std::int64_t size : sizes) {
    result.d[result.nbDims++] = static_cast<std::remove_reference_t<decltype(result.d[0])>>(size);
  }
  return result;
}

inline PluginTensorDesc tensor(const Dims& shape, DataType type = DataType::kFLOAT,
                               TensorFormat format = TensorFormat::kLINEAR) {
  PluginTensorDesc description{};
  description.dims = shape;
  description.type = type;
  description.format = format;
  description.scale = 1;
  return description;
}

inline DynamicPluginTensorDesc range(const Dims& smallest, const Dims& largest, DataType type = DataType::kFLOAT,
                                     TensorFormat format = TensorFormat::kLINEAR) {
  Dims shape = smallest;
  for (int axis = 0; axis < shape.nbDims; ++axis) {
    if (smallest.d[axis] != largest.d[axis]) shape.d[axis] = -1;
  }
  return {tensor(shape, type, format), smallest, largest, smallest};
}

constexpr std::int64_t kTokens = 5;
constexpr std::int64_t kLabels = 3;
constexpr std::int64_t kWidth = 64;

inline Dims of_tokens(std::int64_t batch) { return dims({batch, kTokens, kWidth}); }
inline Dims of_labels() { return dims({1, kLabels, kWidth}); }

inline std::vector<DynamicPluginTensorDesc> profile(std::int64_t from, std::int64_t to,
                                                    DataType type = DataType::kFLOAT) {
  const auto tokens = range(of_tokens(from), of_tokens(to), type);
  const auto labels = range(of_labels(), of_labels(), type);
  return {tokens, labels, tokens, labels};
}

// A size as an expression, which may be known.
class Size final : public IDimensionExpr {
 public:
  explicit Size(std::int64_t size) : value_(size) { mImpl = &value_; }

 private:
  struct Value final : apiv::VDimensionExpr {
    explicit Value(std::int64_t value) : size(value) {}
    bool isConstant() const override { return size >= 0; }
    std::int64_t getConstantValue() const override { return size; }
    bool isSizeTensor() const override { return false; }
    std::int64_t size;
  };
  Value value_;
};

struct Expressions final : IExprBuilder {};
