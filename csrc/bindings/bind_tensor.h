#pragma once

#include <pybind11/pybind11.h>

namespace pvlr::bindings {

// Adds the class Tensor, with its makers, and has_cuda to the module.
void bind_tensor(pybind11::module_& module);

}  // namespace pvlr::bindings
