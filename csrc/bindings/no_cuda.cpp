// A core without CUDA, where nothing runs on a device. pvlr_sdk.kernels checks has_cuda first.
#include "device.h"

namespace pvlr::bindings {

bool has_cuda() { return false; }
int device_of(const void*) { return 0; }

Status run_on_device(const std::vector<const Tensor*>&, void*, const Work&) {
  return {StatusCode::kUnsupportedDevice, "device: this core was built without CUDA"};
}

}  // namespace pvlr::bindings
