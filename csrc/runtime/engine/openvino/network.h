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
// fp32_until computes in bf16, whatever the options say. `quantized`: computes in int8 what the plan has ranges for;
// else they are removed. Labels are computed in fp32. Throws Error, as load_openvino.
CompiledNetwork compile_network(ov::Core& core, const Bundle& bundle, const ov::AnyMap& options, bool bf16,
                                bool quantized);

// Removes the quantisation of activations, in place: the network of a plan in fp32 or bf16.
void remove_ranges(const ov::Model& model);

// Computes what depends on constants alone, such as weights from their 8 bits, in place. `quantized` keeps the integers
// that are multiplied with quantised activations. OpenVINO 2026.4 folds constants itself, but for several streams at
// once: one compilation in five gave other results.
void fold_constants(const std::shared_ptr<ov::Model>& model, bool quantized);

// Computes in bf16 from the tensor named `start` to the last convolution or matrix product, in place. Inputs and
// outputs keep their types. Returns whether there is such a tensor.
//
// OpenVINO's precision hint applies to a whole network. Under the hint f32, bf16 types in the network stay.
// Element-wise operations after the last product stay in f32, as under OpenVINO's own hint.
bool lower_to_bf16(ov::Model& model, const std::string& start);

// The order in which a convolution reads pixels: OpenVINO would reorder planes first.
std::shared_ptr<ov::Model> with_packed_pixels(const std::shared_ptr<ov::Model>& model);

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
