#include "log.h"

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "runtime/error.h"

namespace pvlr::runtime::tensorrt {
namespace {

thread_local FirstError* collector = nullptr;

class Log final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity != Severity::kINTERNAL_ERROR && severity != Severity::kERROR) return;
    if (collector != nullptr) {
      collector->add(message);
    } else {
      std::fprintf(stderr, "TensorRT: %s\n", message);
    }
  }
};

bool is_out_of_memory(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text.find("out of memory") != std::string::npos || text.find("outofmemory") != std::string::npos;
}

}  // namespace

nvinfer1::ILogger& logger() noexcept {
  static Log* const log = new Log;
  return *log;
}

FirstError::FirstError() noexcept : outer_(collector) {
  text_[0] = '\0';
  collector = this;
}

FirstError::~FirstError() { collector = outer_; }

void FirstError::add(const char* message) noexcept {
  if (text_[0] == '\0') std::snprintf(text_.data(), text_.size(), "%s", message);
}

std::string FirstError::text(const char* otherwise) const {
  std::string line = text_[0] == '\0' ? otherwise : text_.data();
  std::replace_if(line.begin(), line.end(), [](unsigned char c) { return std::iscntrl(c) != 0; }, ' ');
  return line.substr(0, line.find_last_not_of(' ') + 1);
}

void FirstError::fail(const std::string& source, const std::string& expected) const {
  const std::string reason = text("no reason given");
  if (is_out_of_memory(reason)) {
    runtime::fail(PVLR_ERROR_OUT_OF_MEMORY, source, expected + " in the GPU's free memory", reason);
  }
  runtime::fail(PVLR_ERROR_RUNTIME, source, expected, reason);
}

}  // namespace pvlr::runtime::tensorrt
