// pvlr_sdk._core.preprocess for one frame and preprocess_batch: fill the params structs and release the GIL. The
// messages for users are pvlr_sdk's own; the checks here only keep wrong arrays from being read out of bounds.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.h"
#include "host/preprocess/check.h"
#include "launch.h"
#include "tensor.h"

namespace py = pybind11;

namespace pvlr::bindings {
namespace {

using Box = std::array<std::int32_t, 4>;  // left, top, width, height
using Triple = std::array<float, 3>;
// Planes (rows, bytes), the frame's width and height, layout, whether BT.709, whether full range, crop, region.
using Entry = std::tuple<std::vector<Tensor>, std::int32_t, std::int32_t, std::string, bool, bool, Box, Box>;

struct Order {
  PixelFormat format;
  YuvMatrix matrix = YuvMatrix::kBt601;
  YuvRange range = YuvRange::kLimited;
};

PixelFormat parse_format(const std::string& name) {
  constexpr std::array<const char*, 7> kNames = {"rgb", "bgr", "rgba", "bgra", "gray", "nv12", "i420"};
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found != kNames.end()) return static_cast<PixelFormat>(found - kNames.begin());
  throw py::value_error(
      "order: must be one of bgr, rgb, bgra, rgba, gray, or nv12 or i420 with -bt709 or -full or both");
}

// A format, for YUV followed by -bt709, -full, both or neither.
Order parse_order(const std::string& name) {
  std::string format = name;
  const auto take = [&format](const std::string& ending) {
    const bool found = format.size() > ending.size() && format.substr(format.size() - ending.size()) == ending;
    if (found) format.resize(format.size() - ending.size());
    return found;
  };
  const YuvRange range = take("-full") ? YuvRange::kFull : YuvRange::kLimited;
  const YuvMatrix matrix = take("-bt709") ? YuvMatrix::kBt709 : YuvMatrix::kBt601;
  const PixelFormat parsed = parse_format(format);
  return {parse_format(is_yuv(parsed) ? format : name), matrix, range};
}

Rectangle rectangle(const Box& box) { return {box[0], box[1], box[2], box[3]}; }

Normalisation normalisation_of(const Triple& scale, const Triple& bias, const Triple& pad) {
  Normalisation n{};
  std::copy(scale.begin(), scale.end(), n.scale);
  std::copy(bias.begin(), bias.end(), n.bias);
  std::copy(pad.begin(), pad.end(), n.pad);
  return n;
}

// After the luma rows: pairs of U and V in rows of the same stride, or U and then V, each packed.
ChromaPlanes chroma_of(const PreprocessParams& p, const Order& order) {
  const std::uint8_t* const u = p.src + p.src_height * p.src_row_stride;
  if (order.format == PixelFormat::kNv12) {
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

void preprocess(const py::array& pixels, const std::string& order_name, py::array& out, const Box& region,
                const Triple& scale, const Triple& bias, const Triple& pad) {
  const Order order = parse_order(order_name);
  const bool yuv = is_yuv(order.format);
  const bool flat = yuv || order.format == PixelFormat::kGray;
  if (!py::isinstance<py::array_t<std::uint8_t>>(pixels)) throw py::type_error("pixels: dtype must be uint8");
  if (pixels.ndim() != (flat ? 2 : 3) || (!flat && pixels.shape(2) != packed_bytes(order.format))) {
    throw py::value_error("pixels: shape does not fit order " + order_name);
  }
  if (yuv && (pixels.shape(0) % 3 != 0 || pixels.shape(1) % 2 != 0)) {
    throw py::value_error("pixels: a YUV array has height * 3 / 2 rows; height and width are even");
  }
  if (order.format == PixelFormat::kI420 && (pixels.flags() & py::array::c_style) == 0) {
    throw py::value_error("pixels: an I420 array must be C-contiguous");
  }
  if (!py::isinstance<py::array_t<float>>(out)) throw py::type_error("out: dtype must be float32");
  const bool planes = (out.flags() & py::array::c_style) != 0;
  if (out.ndim() != 3 || out.shape(0) != 3 || !(planes || is_channels_last(out)) || !out.writeable()) {
    throw py::value_error("out: must be a writeable (3, height, width) array, its planes or its pixels packed");
  }

  PreprocessParams p{};
  p.src = static_cast<const std::uint8_t*>(pixels.data());
  p.src_row_stride = pixels.strides(0);
  p.src_pixel_stride = pixels.strides(1);
  p.src_channel_stride = flat ? 0 : pixels.strides(2);
  p.src_width = pixels.shape(1);
  p.src_height = yuv ? pixels.shape(0) / 3 * 2 : pixels.shape(0);
  p.format = order.format;
  if (yuv) p.chroma = chroma_of(p, order);
  p.dst = static_cast<float*>(out.mutable_data());
  p.channels_last = !planes;
  p.dst_width = out.shape(2);
  p.dst_height = out.shape(1);
  p.region = rectangle(region);
  p.normalisation = normalisation_of(scale, bias, pad);
  raise_for_host(without_gil([&p] { return preprocess_host(p); }));
}

BatchFrame frame_of(const Entry& from) {
  const auto& [planes, width, height, format, bt709, full, crop, region] = from;
  BatchFrame f{};
  f.width = width;
  f.height = height;
  f.format = parse_format(format);
  f.matrix = bt709 ? YuvMatrix::kBt709 : YuvMatrix::kBt601;
  f.range = full ? YuvRange::kFull : YuvRange::kLimited;
  f.crop = rectangle(crop);
  f.region = rectangle(region);
  const int count = plane_count(f.format);
  if (planes.size() != static_cast<std::size_t>(count))
    throw py::value_error("frames: the number of planes does not fit the order");
  for (int i = 0; i < count; ++i) {
    const Tensor& plane = planes[static_cast<std::size_t>(i)];
    const std::int64_t rows = i == 0 ? height : (std::int64_t{height} + 1) / 2;
    const bool fits = plane.type == "uint8" && plane.dimensions() == 2 && plane.shape[0] >= rows &&
                      plane.shape[1] >= row_bytes(f.format, width, i) && plane.strides[1] == 1;
    if (!fits) throw py::value_error("frames: a plane's shape, type or layout does not fit");
    f.planes[i] = static_cast<const std::uint8_t*>(plane.data);
    f.pitches[i] = plane.strides[0];
  }
  return f;
}

void preprocess_batch(const std::vector<Entry>& entries, const Tensor& out, const Triple& scale, const Triple& bias,
                      const Triple& pad, std::int64_t threads, std::uintptr_t stream) {
  const auto count = static_cast<std::int64_t>(entries.size());
  const bool fits = count > 0 && out.dimensions() == 4 && out.shape[0] == count && out.shape[1] == 3 &&
                    out.shape[2] <= kMaxBatchSide && out.shape[3] <= kMaxBatchSide && out.is_contiguous();
  if (!fits) throw py::value_error("out: shape or layout does not fit");
  std::vector<BatchFrame> frames;
  std::vector<const Tensor*> tensors{&out};
  for (const Entry& entry : entries) {
    frames.push_back(frame_of(entry));
    for (const Tensor& plane : std::get<0>(entry)) tensors.push_back(&plane);
  }
  PreprocessBatchParams p{};
  p.frames = frames.data();
  p.count = count;
  p.dst = out.data;
  p.type = data_type(out);
  p.threads = threads;
  p.dst_height = static_cast<std::int32_t>(out.shape[2]);
  p.dst_width = static_cast<std::int32_t>(out.shape[3]);
  p.normalisation = normalisation_of(scale, bias, pad);
  run(tensors, stream, p, preprocess_batch_host, PVLR_CUDA_LAUNCHER(preprocess_batch_cuda));
}

const Registered registered_preprocess([](py::module_& module) {
  module.def(
      "preprocess", &preprocess, py::arg("pixels"), py::arg("order"), py::arg("out"), py::arg("region"),
      py::arg("scale"), py::arg("bias"), py::arg("pad"),
      "Resize and normalise a uint8 frame into `out`, float32 (3, height, width) in RGB order, which may be a view of "
      "(height, width, 3).");
  module.def("preprocess_batch", &preprocess_batch, py::arg("pictures"), py::arg("out"), py::arg("scale"),
             py::arg("bias"), py::arg("pad"), py::arg("threads"), py::arg("stream"),
             "Resize and normalise a batch of frames. Use pvlr_sdk.kernels.");
});

}  // namespace
}  // namespace pvlr::bindings
