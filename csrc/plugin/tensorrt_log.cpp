#include "plugin/tensorrt_log.h"

#include <atomic>
#include <cstdio>

namespace pvlr::plugin {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

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

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder.store(finder); }

void log_error(const char* layer, const char* message) noexcept {
  char line[1024];  // no allocation: this may be about memory
  std::snprintf(line, sizeof line, "pvlr::%s: %s", layer, message);
  if (nvinfer1::ILogger* logger = find_logger()) {
    logger->log(nvinfer1::ILogger::Severity::kERROR, line);
  } else {
    std::fprintf(stderr, "%s\n", line);
  }
}

}  // namespace pvlr::plugin
