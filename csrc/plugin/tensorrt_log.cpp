#include "plugin/tensorrt_log.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdio>

namespace pvlr::plugin {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

// The major version of the TensorRT that an object comes from, found through the library of its virtual functions; 0 if
// unknown.
std::int32_t major_version_behind(const nvinfer1::ILoggerFinder* finder) noexcept {
  const void* virtual_functions = *reinterpret_cast<const void* const*>(finder);
  Dl_info place{};
  if (dladdr(virtual_functions, &place) == 0 || place.dli_fname == nullptr) return 0;
  void* library = dlopen(place.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return 0;
  const auto version = reinterpret_cast<std::int32_t (*)()>(dlsym(library, "getInferLibVersion"));
  const std::int32_t major = version == nullptr ? 0 : version() / 10000;
  dlclose(library);
  return major;
}

// Null if there is none.
nvinfer1::ILogger* find_logger() noexcept {
  try {
    nvinfer1::ILoggerFinder* finder = logger_finder.load();
    return finder == nullptr ? nullptr : finder->findLogger();
  } catch (...) {
    return nullptr;
  }
}

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept {
  // Plugins and creators have the same layout in 10.x and 11.x, but loggers do not: a call would reach another
  // function.
  const std::int32_t major = finder == nullptr ? 0 : major_version_behind(finder);
  logger_finder.store(major == 0 || major == NV_TENSORRT_MAJOR ? finder : nullptr);
}

void log_error(const char* layer, const char* message) noexcept {
  char line[1024];  // no allocation: the message may be about memory
  std::snprintf(line, sizeof line, "pvlr::%s: %s", layer, message);
  if (nvinfer1::ILogger* logger = find_logger()) {
    logger->log(nvinfer1::ILogger::Severity::kERROR, line);
  } else {
    std::fprintf(stderr, "%s\n", line);
  }
}

}  // namespace pvlr::plugin
