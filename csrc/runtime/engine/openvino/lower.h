// Lower precision for a part of a network.
#pragma once

#include <openvino/core/model.hpp>
#include <string>

namespace pvlr::runtime {

// Computes in bf16 from the tensor named `start` to the last convolution or matrix product, in place. Inputs and
// outputs keep their types. Returns whether there is such a tensor.
//
// OpenVINO's precision hint applies to a whole network. Under the hint f32, bf16 types in the network stay.
// Element-wise operations after the last product stay in f32, as under OpenVINO's own hint.
bool lower_to_bf16(ov::Model& model, const std::string& start);

}  // namespace pvlr::runtime
