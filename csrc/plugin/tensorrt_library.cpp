// The functions that libpvlr_plugins.so exports. TensorRT finds the first two by name when it loads the library, which
// is not linked with TensorRT.
#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "plugin/tensorrt_log.h"
#include "plugin/tensorrt_plugin.h"

#define PVLR_EXPORT extern "C" __attribute__((visibility("default")))

namespace pvlr::plugin {
namespace {

// One of each kind, as long as the library is loaded.
const std::vector<nvinfer1::IPluginCreatorInterface*>& creators() {
  static const std::vector<std::unique_ptr<Creator>> owned = [] {
    std::vector<std::unique_ptr<Creator>> made;
    for (auto& layer : all_layers()) made.push_back(std::make_unique<Creator>(std::move(layer)));
    return made;
  }();
  static const std::vector<nvinfer1::IPluginCreatorInterface*> pointers = [] {
    std::vector<nvinfer1::IPluginCreatorInterface*> all;
    for (const auto& creator : owned) all.push_back(creator.get());
    return all;
  }();
  return pointers;
}

}  // namespace
}  // namespace pvlr::plugin

PVLR_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& count) {
  return pvlr::plugin::guarded<nvinfer1::IPluginCreatorInterface* const*>("plugins", nullptr, [&count] {
    count = 0;
    const auto& all = pvlr::plugin::creators();
    count = static_cast<std::int32_t>(all.size());
    return all.data();
  });
}

PVLR_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { pvlr::plugin::set_logger_finder(finder); }

// JSON that describes the library, readable without TensorRT.
PVLR_EXPORT const char* pvlr_plugins_about() {
  static const std::string about = [] {
    const auto entry = [](const char* name, const char* value) {
      return std::string("\"") + name + "\": \"" + value + "\"";
    };
    return "{" + entry("version", pvlr::plugin::kVersion) + ", " + entry("tensorrt", PVLR_TENSORRT_VERSION) + ", " +
           entry("cuda", PVLR_CUDA_VERSION) + ", " + entry("architectures", PVLR_ARCHITECTURES) + "}";
  }();
  return about.c_str();
}
