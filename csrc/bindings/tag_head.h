#pragma once

#include <pybind11/pybind11.h>

namespace pvlr::bindings {

// Adds tag_head to the module.
void bind_tag_head(pybind11::module_& module);

}  // namespace pvlr::bindings
