// pvlr_sdk._core.check_network: why a network is refused.
#include "pvlr/network.h"

#include <pybind11/pybind11.h>

#include "bindings.h"

namespace py = pybind11;

namespace pvlr::bindings {
namespace {

// None, or whether it is ONNX, what was expected and what it has.
py::object check(const py::bytes& network) {
  const auto refusal = [bytes = std::string_view(network)] {
    const py::gil_scoped_release release;
    return check_network(bytes);
  }();
  if (!refusal) return py::none();
  return py::make_tuple(refusal->is_onnx, refusal->expected, refusal->got);
}

const Registered registered_network([](py::module_& module) {
  module.def("check_network", &check);
  module.attr("MAX_NETWORK_ELEMENTS") = kMaxNetworkElements;
});

}  // namespace
}  // namespace pvlr::bindings
