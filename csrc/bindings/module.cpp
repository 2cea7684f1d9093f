// The Python module pvlr_sdk._core: thin functions that check arrays, fill a params struct and release the GIL.
#include "bindings.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled core of pvlr_sdk, an internal interface: use pvlr_sdk.";
  pvlr::bindings::bind_tensor(module);  // first: the others' signatures name the classes
  for (const pvlr::bindings::Bind bind : pvlr::bindings::registered()) bind(module);
}
