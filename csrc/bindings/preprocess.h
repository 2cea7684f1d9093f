#pragma once

#include <pybind11/pybind11.h>

namespace pvlr::bindings {

// Adds preprocess_batch to the module.
void bind_preprocess(pybind11::module_& module);

}  // namespace pvlr::bindings
