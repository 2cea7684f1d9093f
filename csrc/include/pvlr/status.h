// What a launcher answers.
#pragma once

#include <cstdint>

namespace pvlr {

enum class StatusCode : std::int32_t { kOk, kInvalidArgument, kWorkspaceTooSmall, kUnsupportedDevice, kLaunchFailed };

struct Status {
  StatusCode code = StatusCode::kOk;
  const char* message = "";  // static text that begins with the argument's name
  const char* cause = "";    // static text too: what CUDA said, where it refused something

  bool ok() const { return code == StatusCode::kOk; }
};

}  // namespace pvlr
