// Whether a TensorRT plan fits this machine, checked before TensorRT reads it: a plan is native code. The counterpart
// of pvlr_sdk/backends/tensorrt/compatibility.py.
#pragma once

#include <string>
#include <vector>

#include "cuda.h"
#include "runtime/bundle/manifest.h"

namespace pvlr::runtime::tensorrt {

// Major, minor, patch, build.
using Version = std::vector<int>;

struct Machine {
  std::string processor;  // as in uname
  Version tensorrt;
  cuda::Gpu gpu;
  std::string plugins;  // the version of the plugin library; empty: there is none
};

// Whether another TensorRT built the plan than the machine's. A manifest may leave out the build or the patch.
bool is_other_version(const TensorRtSpec& spec, const Version& here);

// Throws Error (PVLR_ERROR_UNSUPPORTED) that lists every reason why the plan does not run here.
void check_compatibility(const TensorRtSpec& spec, const Machine& machine, const std::string& source);

}  // namespace pvlr::runtime::tensorrt
