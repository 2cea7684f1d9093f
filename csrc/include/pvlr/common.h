// What every other header needs: the types of tensors, and the result of a launcher.
#pragma once

#include <cstdint>

// Marks functions that both the CPU and the kernels call.
#if defined(__CUDACC__)
#define PVLR_HOST_DEVICE __host__ __device__
#else
#define PVLR_HOST_DEVICE
#endif

namespace pvlr {

enum class DataType : std::int32_t { kFloat32, kFloat16, kBfloat16 };

enum class StatusCode : std::int32_t { kOk, kInvalidArgument, kWorkspaceTooSmall, kUnsupportedDevice, kLaunchFailed };

struct Status {
  StatusCode code = StatusCode::kOk;
  const char* message = "";  // static text that begins with the argument's name
  const char* cause = "";    // static text too: CUDA's own message, if it refused something

  bool ok() const { return code == StatusCode::kOk; }
};

// Returns from the calling function unless the status of an expression is ok.
#define PVLR_RETURN_IF_ERROR(...)               \
  do {                                          \
    const ::pvlr::Status status_ = __VA_ARGS__; \
    if (!status_.ok()) return status_;          \
  } while (0)

inline Status invalid(const char* message) { return {StatusCode::kInvalidArgument, message}; }

}  // namespace pvlr
