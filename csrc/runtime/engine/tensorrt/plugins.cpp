#include "plugins.h"

#include <dlfcn.h>

#include <filesystem>
#include <mutex>
#include <system_error>

#include "log.h"
#include "runtime/bundle/json_object.h"
#include "runtime/error.h"

namespace pvlr::runtime::tensorrt {
namespace {

namespace fs = std::filesystem;

constexpr char kLibrary[] = "libpvlr_plugins.so";
constexpr char kNamespace[] = "pvlr";
constexpr const char* kOperators[] = {"DualSoftmaxAttention", "TagHead"};

// The path of the library that this code is in.
fs::path own_path() {
  Dl_info found{};
  if (dladdr(reinterpret_cast<const void*>(&own_path), &found) == 0) return {};
  std::error_code error;
  fs::path path = fs::canonical(found.dli_fname, error);
  return error ? fs::path() : path;
}

// Beside this library; for that of a wheel, pvlr_sdk/libpvlr/lib/libpvlr.so, in the package.
fs::path library_path() {
  const fs::path folder = own_path().parent_path();
  const fs::path package = folder.parent_path().parent_path();
  return (folder == package / "libpvlr/lib" && package.filename() == "pvlr_sdk" ? package : folder) / kLibrary;
}

// The first operator that TensorRT does not know yet; null if it knows all.
const char* missing_operator(nvinfer1::IPluginRegistry& registry, const std::string& version) {
  for (const char* const name : kOperators) {
    if (registry.getCreator(name, version.c_str(), kNamespace) == nullptr) return name;
  }
  return nullptr;
}

}  // namespace

std::string plugin_version() {
  // Never closed: plans that are loaded use it.
  void* const library = dlopen(library_path().c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const about = library == nullptr ? nullptr : dlsym(library, "pvlr_plugins_about");
  if (about == nullptr) return {};
  try {
    const Json facts = parse_json(reinterpret_cast<const char* (*)()>(about)(), kLibrary);
    return JsonObject(facts, kLibrary).text("version");
  } catch (const Error&) {  // another library of this name
    return {};
  }
}

void register_plugins(nvinfer1::IPluginRegistry& registry) {
  static std::mutex mutex;  // two taggers that are opened at the same time would load it twice
  const std::lock_guard<std::mutex> lock(mutex);
  const std::string version = plugin_version();
  if (missing_operator(registry, version) == nullptr) return;
  FirstError error;
  registry.loadLibrary(library_path().c_str());
  if (const char* const missing = missing_operator(registry, version)) {
    error.fail(library_path().string(), std::string("a plugin library that TensorRT loads, with ") + missing);
  }
}

}  // namespace pvlr::runtime::tensorrt
