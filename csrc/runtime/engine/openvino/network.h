// How OpenVINO reads and compiles a plan. The counterpart of pvlr_sdk/backends/openvino/{compilation,graph}.py, with
// the same options and graph changes: scores must agree bit for bit.
#pragma once

#include <memory>
#include <openvino/openvino.hpp>
#include <optional>
#include <string>

#include "runtime/engine/runner.h"

namespace pvlr::runtime {

// OpenVINO's entry point, one for the process.
ov::Core& openvino_core();

// Whether this CPU computes in bfloat16.
bool supports_bf16(ov::Core& core);

struct CompiledNetwork {
  ov::CompiledModel frames;
  std::optional<ov::CompiledModel> labels;  // of an open network, whose outputs `frames` reads
};

// Compiles a bundle's plan for one frame; the input has packed pixels. With `bf16`, what follows the manifest's tensor
// fp32_until computes in bf16, whatever the options say. Weights of 8 bits are expanded, unless `quantized`: then the
// CPU computes with them. Labels are computed in fp32. Throws Error, as load_openvino.
CompiledNetwork compile_network(ov::Core& core, const Bundle& bundle, const ov::AnyMap& options, bool bf16,
                                bool quantized);

// The part of an open network that depends on the labels alone, computed once for a label bank, and the part for
// frames.
struct SplitModel {
  std::shared_ptr<ov::Model> labels;
  std::shared_ptr<ov::Model> frames;
};

// Splits an open network in two, in place: labels -> projections, and image and projections -> outputs. The counterpart
// of pvlr_sdk/backends/openvino/split.py.
SplitModel split_labels(const ov::Model& model);

// The name of the input of the part for frames that reads the output of this index of the part for labels.
std::string projection_name(std::size_t index);

// The cause in one of OpenVINO's long messages: its last line.
std::string reason(const std::exception& error);

}  // namespace pvlr::runtime
