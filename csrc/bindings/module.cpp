// The Python module pvlr_sdk._core: checks arrays, fills the params struct, lets go of the GIL.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "attention.h"
#include "host/passes.h"
#include "pvlr/preprocess.h"
#include "tag_head.h"
#include "tensor.h"

namespace py = pybind11;

namespace {

using Triple = std::array<float, 3>;
using Region = std::array<std::int64_t, 4>;  // left, top, width, height

struct Order {
  pvlr::PixelFormat format;
  py::ssize_t channels;  // 0: the array has two dimensions
};

Order parse_order(const std::string& name) {
  if (name == "bgr") return {pvlr::PixelFormat::kBgr, 3};
  if (name == "rgb") return {pvlr::PixelFormat::kRgb, 3};
  if (name == "bgra") return {pvlr::PixelFormat::kBgra, 4};
  if (name == "rgba") return {pvlr::PixelFormat::kRgba, 4};
  if (name == "gray") return {pvlr::PixelFormat::kGray, 0};
  if (name == "nv12") return {pvlr::PixelFormat::kNv12, 0};
  throw py::value_error("order: must be one of bgr, rgb, bgra, rgba, gray, nv12");
}

void preprocess(const py::array& pixels, const std::string& order_name, py::array& out, const Region& region,
                const Triple& scale, const Triple& bias, const Triple& pad) {
  const Order order = parse_order(order_name);
  if (!py::isinstance<py::array_t<std::uint8_t>>(pixels)) throw py::type_error("pixels: dtype must be uint8");
  if (pixels.ndim() != (order.channels == 0 ? 2 : 3) || (order.channels != 0 && pixels.shape(2) != order.channels)) {
    throw py::value_error("pixels: shape does not fit order " + order_name);
  }
  if (order.format == pvlr::PixelFormat::kNv12 && pixels.shape(0) % 3 != 0) {
    throw py::value_error("pixels: an NV12 array has height * 3 / 2 rows");
  }
  if (!py::isinstance<py::array_t<float>>(out)) throw py::type_error("out: dtype must be float32");
  if (out.ndim() != 3 || out.shape(0) != 3 || (out.flags() & py::array::c_style) == 0 || !out.writeable()) {
    throw py::value_error("out: must be a writeable C-contiguous (3, height, width) array");
  }

  pvlr::PreprocessParams params{};
  params.src = static_cast<const std::uint8_t*>(pixels.data());
  params.src_row_stride = pixels.strides(0);
  params.src_pixel_stride = pixels.strides(1);
  params.src_channel_stride = order.channels == 0 ? 0 : pixels.strides(2);
  params.src_width = pixels.shape(1);
  params.src_height = order.format == pvlr::PixelFormat::kNv12 ? pixels.shape(0) / 3 * 2 : pixels.shape(0);
  params.format = order.format;
  params.dst = static_cast<float*>(out.mutable_data());
  params.dst_width = out.shape(2);
  params.dst_height = out.shape(1);
  params.region_left = region[0];
  params.region_top = region[1];
  params.region_width = region[2];
  params.region_height = region[3];
  std::copy(scale.begin(), scale.end(), params.scale);
  std::copy(bias.begin(), bias.end(), params.bias);
  std::copy(pad.begin(), pad.end(), params.pad);

  const py::gil_scoped_release release;
  pvlr::preprocess(params);
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled core of pvlr_sdk. Use pvlr_sdk.preprocess.Preprocessor.";
  module.def("preprocess", &preprocess, py::arg("pixels"), py::arg("order"), py::arg("out"), py::arg("region"),
             py::arg("scale"), py::arg("bias"), py::arg("pad"),
             "Resize and normalise a uint8 frame into `out`, float32 (3, height, width) in RGB order.");
  module.def(
      "instruction_set", [] { return pvlr::best_passes().name; },
      "The instruction set that the pass uses on this processor.");
  pvlr::bindings::bind_tensor(module);
  pvlr::bindings::bind_attention(module);
  pvlr::bindings::bind_tag_head(module);
}
