// How OpenVINO reads and compiles a plan. The counterpart of pvlr_sdk/backends/openvino/compilation.py, with the same
// options and graph changes: scores must agree bit for bit.
#pragma once

#include <openvino/openvino.hpp>
#include <string>

#include "runtime/engine/runner.h"

namespace pvlr::runtime {

// OpenVINO's entry point, one for the process.
ov::Core& openvino_core();

// Whether this CPU computes in bfloat16.
bool supports_bf16(ov::Core& core);

// Compiles a bundle's plan for one frame; the input has packed pixels. With `bf16`, what follows the manifest's tensor
// fp32_until computes in bf16, whatever the options say. Throws Error, as load_openvino.
ov::CompiledModel compile_network(ov::Core& core, const Bundle& bundle, const ov::AnyMap& options, bool bf16);

// The cause in one of OpenVINO's long messages: its last line.
std::string reason(const std::exception& error);

}  // namespace pvlr::runtime
