#pragma once

#include <pybind11/pybind11.h>

namespace pvlr::bindings {

// Adds dual_softmax_attention to the module.
void bind_attention(pybind11::module_& module);

}  // namespace pvlr::bindings
