// The Python module pvlr_sdk._core: checks arrays, fills the params struct, lets go of the GIL.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "attention.h"
#include "bind_tensor.h"
#include "host/passes.h"
#include "preprocess.h"
#include "pvlr/preprocess.h"
#include "tag_head.h"

namespace py = pybind11;

namespace {

using Triple = std::array<float, 3>;
using Region = std::array<std::int64_t, 4>;  // left, top, width, height

struct Order {
  pvlr::PixelFormat format;
  py::ssize_t channels;  // 0: the array has two dimensions
  pvlr::YuvMatrix matrix = pvlr::YuvMatrix::kBt601;
  pvlr::YuvRange range = pvlr::YuvRange::kLimited;

  bool yuv() const { return format == pvlr::PixelFormat::kNv12 || format == pvlr::PixelFormat::kI420; }
};

// nv12 or i420, then perhaps -bt709, then perhaps -full.
bool parse_yuv(std::string name, Order* order) {
  const auto take = [&name](const std::string& ending) {
    if (name.size() < ending.size() || name.substr(name.size() - ending.size()) != ending) return false;
    name.resize(name.size() - ending.size());
    return true;
  };
  if (take("-full")) order->range = pvlr::YuvRange::kFull;
  if (take("-bt709")) order->matrix = pvlr::YuvMatrix::kBt709;
  order->format = name == "nv12" ? pvlr::PixelFormat::kNv12 : pvlr::PixelFormat::kI420;
  return name == "nv12" || name == "i420";
}

Order parse_order(const std::string& name) {
  if (name == "bgr") return {pvlr::PixelFormat::kBgr, 3};
  if (name == "rgb") return {pvlr::PixelFormat::kRgb, 3};
  if (name == "bgra") return {pvlr::PixelFormat::kBgra, 4};
  if (name == "rgba") return {pvlr::PixelFormat::kRgba, 4};
  if (name == "gray") return {pvlr::PixelFormat::kGray, 0};
  Order order{pvlr::PixelFormat::kNv12, 0};
  if (parse_yuv(name, &order)) return order;
  throw py::value_error(
      "order: must be one of bgr, rgb, bgra, rgba, gray, or nv12 or i420 with -bt709 or -full or both");
}

// Behind the luma: pairs of U and V in rows of the same stride, or U and then V, each packed.
pvlr::ChromaPlanes chroma_of(const pvlr::PreprocessParams& p, const Order& order) {
  const std::uint8_t* const u = p.src + p.src_height * p.src_row_stride;
  if (order.format == pvlr::PixelFormat::kNv12) {
    const std::int64_t step = p.src_pixel_stride;
    return {u, u + step, p.src_row_stride, p.src_row_stride, 2 * step, 0, 0, order.matrix, order.range};
  }
  const std::int64_t width = p.src_width / 2;
  return {u, u + p.src_height / 2 * width, width, width, 1, 0, 0, order.matrix, order.range};
}

// Whether a (3, height, width) array is a view of a C-contiguous (height, width, 3) one.
bool is_channels_last(const py::array& out) {
  constexpr py::ssize_t kFloat = sizeof(float);
  return out.strides(0) == kFloat && out.strides(2) == 3 * kFloat && out.strides(1) == out.shape(2) * 3 * kFloat;
}

void preprocess(const py::array& pixels, const std::string& order_name, py::array& out, const Region& region,
                const Triple& scale, const Triple& bias, const Triple& pad) {
  const Order order = parse_order(order_name);
  if (!py::isinstance<py::array_t<std::uint8_t>>(pixels)) throw py::type_error("pixels: dtype must be uint8");
  if (pixels.ndim() != (order.channels == 0 ? 2 : 3) || (order.channels != 0 && pixels.shape(2) != order.channels)) {
    throw py::value_error("pixels: shape does not fit order " + order_name);
  }
  if (order.yuv() && (pixels.shape(0) % 3 != 0 || pixels.shape(1) % 2 != 0)) {
    throw py::value_error("pixels: a YUV array has height * 3 / 2 rows; height and width are even");
  }
  if (order.format == pvlr::PixelFormat::kI420 && (pixels.flags() & py::array::c_style) == 0) {
    throw py::value_error("pixels: an I420 array must be C-contiguous");
  }
  if (!py::isinstance<py::array_t<float>>(out)) throw py::type_error("out: dtype must be float32");
  const bool planes = (out.flags() & py::array::c_style) != 0;
  if (out.ndim() != 3 || out.shape(0) != 3 || !(planes || is_channels_last(out)) || !out.writeable()) {
    throw py::value_error("out: must be a writeable (3, height, width) array, its planes or its pixels packed");
  }

  pvlr::PreprocessParams params{};
  params.src = static_cast<const std::uint8_t*>(pixels.data());
  params.src_row_stride = pixels.strides(0);
  params.src_pixel_stride = pixels.strides(1);
  params.src_channel_stride = order.channels == 0 ? 0 : pixels.strides(2);
  params.src_width = pixels.shape(1);
  params.src_height = order.yuv() ? pixels.shape(0) / 3 * 2 : pixels.shape(0);
  params.format = order.format;
  if (order.yuv()) params.chroma = chroma_of(params, order);
  params.dst = static_cast<float*>(out.mutable_data());
  params.channels_last = !planes;
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
  module.def(
      "preprocess", &preprocess, py::arg("pixels"), py::arg("order"), py::arg("out"), py::arg("region"),
      py::arg("scale"), py::arg("bias"), py::arg("pad"),
      "Resize and normalise a uint8 frame into `out`, float32 (3, height, width) in RGB order, perhaps a view of "
      "(height, width, 3).");
  module.def(
      "instruction_set", [] { return pvlr::best_passes().name; },
      "The instruction set that the pass uses on this processor.");
  pvlr::bindings::bind_tensor(module);
  pvlr::bindings::bind_attention(module);
  pvlr::bindings::bind_preprocess(module);
  pvlr::bindings::bind_tag_head(module);
}
