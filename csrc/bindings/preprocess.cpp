// pvlr_sdk._core.preprocess_batch: fills the params struct from tensors and lets go of the GIL. The messages for users
// are pvlr_sdk.kernels'; the checks here only keep wrong tensors from being read out of bounds.
#include "preprocess.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "launch.h"
#include "pvlr/preprocess_batch.h"
#include "tensor.h"

namespace py = pybind11;

namespace pvlr::bindings {
namespace {

using Box = std::array<std::int32_t, 4>;  // left, top, width, height
using Triple = std::array<float, 3>;
// Planes (rows, bytes), the frame's width and height, layout, whether BT.709, whether full range, crop, region.
using Picture = std::tuple<std::vector<Tensor>, std::int32_t, std::int32_t, std::string, bool, bool, Box, Box>;

PixelFormat parse_format(const std::string& name) {
  if (name == "rgb") return PixelFormat::kRgb;
  if (name == "bgr") return PixelFormat::kBgr;
  if (name == "rgba") return PixelFormat::kRgba;
  if (name == "bgra") return PixelFormat::kBgra;
  if (name == "gray") return PixelFormat::kGray;
  if (name == "nv12") return PixelFormat::kNv12;
  if (name == "i420") return PixelFormat::kI420;
  throw py::value_error("order: unknown");
}

// Rows and bytes a row that a plane must have at least.
std::array<std::int64_t, 2> plane_size(const BatchPicture& p, std::size_t plane) {
  const std::int64_t half_width = (std::int64_t{p.width} + 1) / 2;
  const std::int64_t half_height = (std::int64_t{p.height} + 1) / 2;
  if (plane > 0) return {half_height, p.format == PixelFormat::kNv12 ? 2 * half_width : half_width};
  const bool four = p.format == PixelFormat::kRgba || p.format == PixelFormat::kBgra;
  const bool three = p.format == PixelFormat::kRgb || p.format == PixelFormat::kBgr;
  return {p.height, p.width * std::int64_t{four ? 4 : three ? 3 : 1}};
}

Rectangle rectangle(const Box& box) { return {box[0], box[1], box[2], box[3]}; }

BatchPicture fill(const Picture& from) {
  const auto& [planes, width, height, format, bt709, full, crop, region] = from;
  BatchPicture p{};
  p.width = width;
  p.height = height;
  p.format = parse_format(format);
  p.matrix = bt709 ? YuvMatrix::kBt709 : YuvMatrix::kBt601;
  p.range = full ? YuvRange::kFull : YuvRange::kLimited;
  p.crop = rectangle(crop);
  p.region = rectangle(region);
  const std::size_t wanted = p.format == PixelFormat::kNv12 ? 2 : p.format == PixelFormat::kI420 ? 3 : 1;
  if (planes.size() != wanted) throw py::value_error("frames: the number of planes does not fit the order");
  for (std::size_t i = 0; i < planes.size(); ++i) {
    const Tensor& plane = planes[i];
    const auto size = plane_size(p, i);
    const bool fits = plane.type == "uint8" && plane.dimensions() == 2 && plane.shape[0] >= size[0] &&
                      plane.shape[1] >= size[1] && plane.strides[1] == 1;
    if (!fits) throw py::value_error("frames: a plane's shape, type or layout does not fit");
    p.planes[i] = static_cast<const std::uint8_t*>(plane.data);
    p.pitches[i] = plane.strides[0];
  }
  return p;
}

void preprocess(const std::vector<Picture>& pictures, const Tensor& out, const Triple& scale, const Triple& bias,
                const Triple& pad, std::int64_t threads, std::uintptr_t stream) {
  const auto count = static_cast<std::int64_t>(pictures.size());
  const bool fits = count > 0 && out.dimensions() == 4 && out.shape[0] == count && out.shape[1] == 3 &&
                    out.shape[2] <= kMaxBatchSide && out.shape[3] <= kMaxBatchSide && out.is_contiguous();
  if (!fits) throw py::value_error("out: shape or layout does not fit");
  std::vector<BatchPicture> filled;
  std::vector<const Tensor*> tensors{&out};
  for (const Picture& picture : pictures) {
    filled.push_back(fill(picture));
    for (const Tensor& plane : std::get<0>(picture)) tensors.push_back(&plane);
  }
  PreprocessBatchParams p{};
  p.pictures = filled.data();
  p.count = count;
  p.dst = out.data;
  p.type = data_type(out);
  p.threads = threads;
  p.dst_height = static_cast<std::int32_t>(out.shape[2]);
  p.dst_width = static_cast<std::int32_t>(out.shape[3]);
  std::copy(scale.begin(), scale.end(), p.scale);
  std::copy(bias.begin(), bias.end(), p.bias);
  std::copy(pad.begin(), pad.end(), p.pad);
  run(tensors, stream,
      {[&] { return preprocess_batch_host(p); },
       [](std::size_t* bytes) {
         *bytes = 0;
         return Status{};
       },
       [&](void* handle, void*, std::size_t) { return preprocess_batch_cuda(p, handle); }});
}

}  // namespace

void bind_preprocess(py::module_& module) {
  module.def("preprocess_batch", &preprocess, py::arg("pictures"), py::arg("out"), py::arg("scale"), py::arg("bias"),
             py::arg("pad"), py::arg("threads"), py::arg("stream"),
             "Resize and normalise a batch of frames. Use pvlr_sdk.kernels.");
}

}  // namespace pvlr::bindings
