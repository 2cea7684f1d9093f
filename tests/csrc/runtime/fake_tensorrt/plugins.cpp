// Plays libpvlr_plugins.so: creators with the names of the real ones, and no plugins.
#include <NvInferRuntime.h>

using namespace nvinfer1;

namespace {

struct Creator final : IPluginCreatorV3One {
  explicit Creator(const char* given) : name(given) {}

  IPluginV3* createPlugin(const char*, const PluginFieldCollection*, TensorRTPhase) noexcept override {
    return nullptr;
  }
  const PluginFieldCollection* getFieldNames() noexcept override { return nullptr; }
  const char* getPluginName() const noexcept override { return name; }
  const char* getPluginVersion() const noexcept override { return "1"; }
  const char* getPluginNamespace() const noexcept override { return "pvlr"; }

  const char* name;
};

}  // namespace

extern "C" IPluginCreatorInterface* const* getCreators(std::int32_t& count) {
  static Creator attention("DualSoftmaxAttention");
  static Creator head("TagHead");
  static IPluginCreatorInterface* const creators[] = {&attention, &head};
  count = 2;
  return creators;
}

extern "C" const char* pvlr_plugins_about() { return R"({"version": "1", "tensorrt": "10.3.0"})"; }
