// A fake libnvinfer with the entry points and virtual functions that libpvlr calls. The test generates tensorrt_stubs.h
// from the real headers, so that every virtual function is in its place; those that libpvlr must not need end the
// program.
//
// A plan is text: FAKE, then "plugins" if it needs them, then a line for each tensor: name, "in" or "out", type, number
// of dimensions, dimensions. The network computes affine functions of the means of the three planes, weighted by place.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tensorrt_stubs.h"
#include "world.h"

using namespace nvinfer1;

namespace {

struct Counted {
  Counted() { ++fake_world().alive; }
  ~Counted() { --fake_world().alive; }
};

struct Tensor {
  TensorIOMode mode;
  DataType type;
  Dims dims;
};
using Tensors = std::map<std::string, Tensor>;

std::size_t element(std::int64_t size) { return static_cast<std::size_t>(size); }

// ---- Execution ------------------------------------------------------------------------------------------------------

struct Network {
  std::size_t batch, height, width, labels, tokens;
  const float* image;
  float* logits;
  float* similarity;

  void operator()() const {
    const std::size_t pixels = height * width;
    for (std::size_t b = 0; b < batch; ++b) {
      double feature[3];
      for (std::size_t plane = 0; plane < 3; ++plane) {
        double sum = 0;
        for (std::size_t i = 0; i < pixels; ++i) {
          sum += static_cast<double>(image[(3 * b + plane) * pixels + i]) * static_cast<double>(1 + i % 5);
        }
        feature[plane] = sum / static_cast<double>(pixels);
      }
      for (std::size_t c = 0; c < labels; ++c) {
        const auto label = static_cast<double>(c);
        logits[b * labels + c] = static_cast<float>(0.1 * (label + 1) * feature[c % 3] + 0.05 * label - 0.2);
        for (std::size_t n = 0; n < tokens; ++n) {
          similarity[(b * tokens + n) * labels + c] =
              static_cast<float>(0.01 * static_cast<double>(n) * (label + 1) + 0.1 * feature[c % 3]);
        }
      }
    }
  }
};

struct ContextFunctions final : apiv::ExecutionContextStub {
  ContextFunctions(const Tensors& all, ILogger* log) : tensors(all), logger(log) {}

  bool setOptimizationProfileAsync(std::int32_t index, cudaStream_t) noexcept override {
    const FakeCall inside;
    World& world = fake_world();
    if (!world.profile_shared && world.contexts_created == 2) return refuse("the profile is in use");
    world.profile = index;
    return true;
  }
  bool setInputShape(const char* name, const Dims& dims) noexcept override {
    const FakeCall inside;
    if (std::strcmp(name, "image") != 0 || dims.nbDims != 4 || dims.d[0] > 4) return false;
    shape = dims;
    return true;
  }
  bool setTensorAddress(const char* name, void* data) noexcept override {
    const FakeCall inside;
    addresses[name] = data;
    return true;
  }
  bool enqueueV3(cudaStream_t stream) noexcept override {
    const FakeCall inside;
    World& world = fake_world();
    if (world.lost != 0) fake_fail("an inference in a lost context");
    const bool capturing = fake_is_capturing(stream);
    if (capturing ? world.lost_in_capture : world.lost_in_enqueue) {
      world.lost = cudaErrorLaunchFailure;
      return refuse("Error Code 1: Cuda Runtime (unspecified launch failure)");
    }
    if (capturing) {
      if (World::runs_out(&world.captures_left)) return refuse("operation not permitted when stream is capturing");
    } else {
      ++world.enqueues;
      if (World::runs_out(&world.enqueues_left)) return refuse("[enqueue] Requested 64 MiB: OutOfMemory\n");
    }
    const bool maps = tensors.count("similarity") != 0;
    Network network{};
    network.batch = element(shape.d[0]);
    network.height = element(shape.d[2]);
    network.width = element(shape.d[3]);
    network.tokens = maps ? element(tensors.at("similarity").dims.d[1]) : 0;
    network.labels = element(tensors.at("logits").dims.d[1]);
    network.image = static_cast<const float*>(memory("image", 3 * network.batch * network.height * network.width));
    network.logits = static_cast<float*>(memory("logits", network.batch * network.labels));
    const std::size_t sizes = network.batch * network.tokens * network.labels;
    if (maps) network.similarity = static_cast<float*>(memory("similarity", sizes));
    fake_enqueue(stream, network);
    return true;
  }

  bool refuse(const char* reason) const {
    logger->log(ILogger::Severity::kERROR, reason);
    logger->log(ILogger::Severity::kERROR, "a consequence");
    return false;
  }
  void* memory(const char* name, std::size_t count) const {
    void* const address = addresses.at(name);
    fake_check_device_memory(address, count * sizeof(float));
    return address;
  }

  const Tensors& tensors;
  ILogger* logger;
  Dims shape{};
  std::map<std::string, void*> addresses;
};

struct Context final : IExecutionContext, Counted {
  Context(const Tensors& tensors, ILogger* logger) : functions(tensors, logger) { mImpl = &functions; }
  ContextFunctions functions;
};

// ---- Engines --------------------------------------------------------------------------------------------------------

struct EngineFunctions final : apiv::CudaEngineStub {
  EngineFunctions(Tensors all, ILogger* log) : tensors(std::move(all)), logger(log) {}

  IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy) noexcept override {
    const FakeCall inside;
    if (World::runs_out(&fake_world().contexts_left)) {
      logger->log(ILogger::Severity::kERROR, "Error Code 2: OutOfMemory (Requested size was 1048576 bytes.)");
      logger->log(ILogger::Severity::kERROR, "a consequence");
      return nullptr;
    }
    ++fake_world().contexts_created;
    return new Context(tensors, logger);
  }
  std::int32_t getNbOptimizationProfiles() const noexcept override { return 2; }
  std::int32_t getNbIOTensors() const noexcept override { return static_cast<std::int32_t>(tensors.size()); }
  TensorIOMode getTensorIOMode(const char* name) const noexcept override {
    return tensors.count(name) == 0 ? TensorIOMode::kNONE : tensors.at(name).mode;
  }
  DataType getTensorDataType(const char* name) const noexcept override { return tensors.at(name).type; }
  Dims getTensorShape(const char* name) const noexcept override { return tensors.at(name).dims; }

  Tensors tensors;
  ILogger* logger;
};

struct Engine final : ICudaEngine, Counted {
  Engine(Tensors tensors, ILogger* logger) : functions(std::move(tensors), logger) { mImpl = &functions; }
  EngineFunctions functions;
};

// ---- Plugins --------------------------------------------------------------------------------------------------------

struct Registry final : PluginRegistryStub {
  PluginLibraryHandle loadLibrary(const char* path) noexcept override {
    const FakeCall inside;
    void* const library = dlopen(path, RTLD_NOW);
    using GetCreators = IPluginCreatorInterface* const* (*)(std::int32_t&);
    const auto get = library == nullptr ? nullptr : reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
    if (get == nullptr) return nullptr;
    std::int32_t count = 0;
    IPluginCreatorInterface* const* const all = get(count);
    creators.insert(creators.end(), all, all + count);
    return library;
  }
  IPluginCreatorInterface* getCreator(const char* name, const char* version, const char* space) noexcept override {
    for (IPluginCreatorInterface* const creator : creators) {
      const auto* const one = static_cast<const IPluginCreatorV3One*>(creator);
      if (one->getPluginName() == std::string(name) && one->getPluginVersion() == std::string(version) &&
          one->getPluginNamespace() == std::string(space)) {
        return creator;
      }
    }
    return nullptr;
  }

  std::vector<IPluginCreatorInterface*> creators;
};

// ---- The runtime ----------------------------------------------------------------------------------------------------

struct Runtime;

struct RuntimeFunctions final : apiv::RuntimeStub {
  using apiv::RuntimeStub::deserializeCudaEngine;

  explicit RuntimeFunctions(ILogger* log) : logger(log) {}

  ICudaEngine* deserializeCudaEngine(const void* blob, std::size_t size) noexcept override {
    const FakeCall inside;
    if (!host_code_refused) fake_fail("a plan before host code was refused");
    std::istringstream plan(std::string(static_cast<const char*>(blob), size));
    std::string word;
    if (!(plan >> word) || word != "FAKE") return refuse("Serialization assertion plan->header.magicTag failed.");
    Tensors tensors;
    while (plan >> word) {
      if (word != "plugins") {
        read_tensor(&tensors[word], plan);
      } else if (getPluginRegistry().getCreator("TagHead", "1", "pvlr") == nullptr) {
        return refuse("Plugin not found, are the plugin name, version, and namespace correct");
      }
    }
    return new Engine(tensors, logger);
  }
  void setEngineHostCodeAllowed(bool allowed) noexcept override { host_code_refused = !allowed; }
  void setDLACore(std::int32_t) noexcept override { refuse("DLA is not supported on this platform"); }
  IPluginRegistry& getPluginRegistry() noexcept override { return *::getPluginRegistry(); }
  IRuntime* loadRuntime(const char* path) noexcept override;

  static void read_tensor(Tensor* tensor, std::istream& plan) {
    std::string mode;
    std::string type;
    plan >> mode >> type >> tensor->dims.nbDims;
    tensor->mode = mode == "in" ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    tensor->type = type == "float" ? DataType::kFLOAT : DataType::kHALF;
    for (int i = 0; i < tensor->dims.nbDims; ++i) plan >> tensor->dims.d[i];
  }
  std::nullptr_t refuse(const char* reason) const {
    logger->log(ILogger::Severity::kWARNING, "a warning");
    logger->log(ILogger::Severity::kERROR, reason);
    return nullptr;
  }

  ILogger* logger;
  bool host_code_refused = false;
};

struct Runtime final : IRuntime, Counted {
  explicit Runtime(ILogger* logger) : functions(logger) { mImpl = &functions; }
  RuntimeFunctions functions;
};

IRuntime* RuntimeFunctions::loadRuntime(const char* path) noexcept {
  const FakeCall inside;
  const char kLean[] = "libnvinfer_lean.so";
  return std::strstr(path, kLean) == nullptr ? refuse("cannot open shared object file") : new Runtime(logger);
}

ILogger* first_logger = nullptr;

}  // namespace

void* createInferRuntime_INTERNAL(void* logger, std::int32_t version) noexcept {
  const FakeCall inside;
  if (version != NV_TENSORRT_VERSION) fake_fail("a version of other headers");
  if (first_logger != nullptr && first_logger != logger) fake_fail("a second logger");
  first_logger = static_cast<ILogger*>(logger);
  ++fake_world().runtimes;
  return static_cast<IRuntime*>(new Runtime(first_logger));
}

IPluginRegistry* getPluginRegistry() noexcept {
  static Registry registry;
  return &registry;
}

std::int32_t getInferLibMajorVersion() noexcept { return NV_TENSORRT_MAJOR; }
std::int32_t getInferLibMinorVersion() noexcept { return NV_TENSORRT_MINOR; }
std::int32_t getInferLibPatchVersion() noexcept { return NV_TENSORRT_PATCH; }
std::int32_t getInferLibBuildVersion() noexcept { return NV_TENSORRT_BUILD; }
