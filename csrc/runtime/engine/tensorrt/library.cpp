// TensorRT's entry points, from its library, which is loaded at the first call: where there is none, libpvlr still runs
// plans for the CPU.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <string>

namespace {

// What a function of the library returns; zero without the library.
template <typename Result, typename... Arguments>
Result call(const char* name, Arguments... arguments) noexcept {
  static void* const library =
      dlopen(("libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR)).c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const found = library == nullptr ? nullptr : dlsym(library, name);
  return found == nullptr ? Result{} : reinterpret_cast<Result (*)(Arguments...)>(found)(arguments...);
}

}  // namespace

void* createInferRuntime_INTERNAL(void* logger, int32_t version) noexcept {
  return call<void*>("createInferRuntime_INTERNAL", logger, version);
}
nvinfer1::IPluginRegistry* getPluginRegistry() noexcept {
  return call<nvinfer1::IPluginRegistry*>("getPluginRegistry");
}
int32_t getInferLibMajorVersion() noexcept { return call<int32_t>("getInferLibMajorVersion"); }
int32_t getInferLibMinorVersion() noexcept { return call<int32_t>("getInferLibMinorVersion"); }
int32_t getInferLibPatchVersion() noexcept { return call<int32_t>("getInferLibPatchVersion"); }
int32_t getInferLibBuildVersion() noexcept { return call<int32_t>("getInferLibBuildVersion"); }
