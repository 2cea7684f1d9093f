// How a source file adds functions to the module pvlr_sdk._core.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

namespace pvlr::bindings {

using Bind = void (*)(pybind11::module_& module);

// What the files of kernels have registered, each with a static `const Registered` of its own.
inline std::vector<Bind>& registered() {
  static std::vector<Bind> all;
  return all;
}

struct Registered {
  explicit Registered(Bind bind) { registered().push_back(bind); }
};

void bind_tensor(pybind11::module_& module);  // the class Tensor and has_cuda

}  // namespace pvlr::bindings
