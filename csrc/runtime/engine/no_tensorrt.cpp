// In place of the TensorRT runner, in a library that was built without TensorRT.
#include "runner.h"
#include "runtime/error.h"

namespace pvlr::runtime {

std::unique_ptr<Runner> load_tensorrt(const Bundle& bundle, const EngineOptions&) {
  fail(PVLR_ERROR_UNSUPPORTED, bundle.source, "a plan for the backend openvino",
       "one for tensorrt. This libpvlr was built without TensorRT: build it with TensorRT's headers and libraries "
       "(TENSORRT_ROOT) and CUDA's (CUDAToolkit_ROOT)");
}

}  // namespace pvlr::runtime
