// In place of the OpenVINO runner: these tests need none, and it takes long to compile.
#include "runtime/engine/runner.h"
#include "runtime/error.h"

namespace pvlr::runtime {

std::unique_ptr<Runner> load_openvino(const Bundle& bundle, const EngineOptions&) {
  fail(PVLR_ERROR_UNSUPPORTED, bundle.source, "a plan for tensorrt", "one for openvino");
}

}  // namespace pvlr::runtime
