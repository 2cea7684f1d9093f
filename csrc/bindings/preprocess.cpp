// pvlr_sdk._core.preprocess_batch: fills the params struct and releases the GIL. The messages for users are pvlr_sdk's
// own; the checks here only keep wrong arrays from being read out of bounds.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.h"
#include "host/preprocess/formats.h"
#include "launch.h"
#include "tensor.h"

namespace py = pybind11;

namespace pvlr::bindings {
namespace {

using Box = std::array<std::int32_t, 4>;  // left, top, width, height
using Triple = std::array<float, 3>;
// The arrays of a frame, its order, crop and region.
using Entry = std::tuple<std::vector<Tensor>, std::string, Box, Box>;

// Sets the format, and of YUV the matrix and the range: a name may end with -bt709, -full or both.
void set_order(const std::string& name, BatchFrame* f) {
  constexpr std::array<const char*, 7> kNames = {"rgb", "bgr", "rgba", "bgra", "gray", "nv12", "i420"};
  const std::size_t dash = std::min(name.find('-'), name.size());
  const std::string ending = name.substr(dash);
  const auto found = std::find(kNames.begin(), kNames.end(), name.substr(0, dash));
  f->format = static_cast<PixelFormat>(found - kNames.begin());
  const bool bt709 = ending == "-bt709" || ending == "-bt709-full";
  const bool full = ending == "-full" || ending == "-bt709-full";
  if (found == kNames.end() || (!ending.empty() && !(is_yuv(f->format) && (bt709 || full)))) {
    throw py::value_error(
        "order: must be one of bgr, rgb, bgra, rgba, gray, or nv12 or i420 with -bt709 or -full or both");
  }
  f->matrix = bt709 ? YuvMatrix::kBt709 : YuvMatrix::kBt601;
  f->range = full ? YuvRange::kFull : YuvRange::kLimited;
}

Rectangle rectangle(const Box& box) { return {box[0], box[1], box[2], box[3]}; }

// Whether an array has packed uint8 pixels in rows: (rows, values), or (rows, pixels, channels).
bool is_packed(const Tensor& array, std::int64_t rows, std::int64_t width, std::int64_t channels) {
  const std::size_t rank = channels == 1 ? 2 : 3;
  return array.type == "uint8" && array.shape.size() == rank && array.shape[0] == rows && array.shape[1] == width &&
         (array.strides[1] == channels || width == 1) &&
         (rank == 2 || (array.shape[2] == channels && array.strides[2] == 1));
}

// The planes of a YUV frame are arrays of their own, or one below the other in one array: U and V in pairs in rows of
// the luma's stride, or U and then V, each contiguous.
BatchFrame frame_of(const Entry& from) {
  const auto& [arrays, order, crop, region] = from;
  BatchFrame f{};
  set_order(order, &f);
  f.crop = rectangle(crop);
  f.region = rectangle(region);
  const auto count = static_cast<std::size_t>(plane_count(f.format));
  const bool together = count > 1 && arrays.size() == 1;
  const bool fits = (arrays.size() == count || together) && arrays[0].dimensions() >= 2 &&
                    std::max(arrays[0].shape[0], arrays[0].shape[1]) <= 2 * kMaxHostSide;
  if (!fits) throw py::value_error("frames: the arrays do not fit the order");
  const std::int64_t rows = arrays[0].shape[0];
  const std::int64_t width = arrays[0].shape[1];
  const std::int64_t height = together ? rows / 3 * 2 : rows;
  f.width = static_cast<std::int32_t>(width);
  f.height = static_cast<std::int32_t>(height);
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const bool chroma = i > 0;
    const bool packed = is_packed(arrays[i], chroma ? (height + 1) / 2 : rows,
                                  chroma ? row_bytes(f.format, width, static_cast<int>(i)) : width,
                                  chroma ? 1 : packed_bytes(f.format));
    if (!packed) throw py::value_error("frames: an array's shape, type or layout does not fit the order");
    f.planes[i] = static_cast<const std::uint8_t*>(arrays[i].data);
    f.pitches[i] = arrays[i].strides[0];
  }
  if (!together) return f;
  const bool interleaved = f.format == PixelFormat::kNv12;
  if (rows % 3 != 0 || width % 2 != 0 || (!interleaved && !arrays[0].is_contiguous())) {
    throw py::value_error("frames: a YUV array has height * 3 / 2 rows; sides are even, and I420 is contiguous");
  }
  f.planes[1] = f.planes[0] + height * f.pitches[0];
  f.pitches[1] = interleaved ? f.pitches[0] : width / 2;
  f.planes[2] = f.planes[1] + height / 2 * f.pitches[1];
  f.pitches[2] = f.pitches[1];
  return f;
}

// Whether a (count, 3, height, width) tensor is a view of a contiguous (count, height, width, 3) one.
bool is_channels_last(const Tensor& out) {
  const std::int64_t row = 3 * out.shape[3];
  return out.strides[1] == 1 && out.strides[3] == 3 && out.strides[2] == row &&
         (out.shape[0] == 1 || out.strides[0] == row * out.shape[2]);
}

void preprocess_batch(const std::vector<Entry>& entries, const Tensor& out, const Triple& scale, const Triple& bias,
                      const Triple& pad, std::int64_t threads, std::uintptr_t stream) {
  const auto count = static_cast<std::int64_t>(entries.size());
  const bool fits = count > 0 && out.dimensions() == 4 && out.shape[0] == count && out.shape[1] == 3 &&
                    out.shape[2] <= kMaxHostSide && out.shape[3] <= kMaxHostSide && out.writable;
  if (!fits || !(out.is_contiguous() || is_channels_last(out))) {
    throw py::value_error("out: shape or layout does not fit");
  }
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
  p.channels_last = !out.is_contiguous();
  p.dst_height = static_cast<std::int32_t>(out.shape[2]);
  p.dst_width = static_cast<std::int32_t>(out.shape[3]);
  std::copy(scale.begin(), scale.end(), p.normalisation.scale);
  std::copy(bias.begin(), bias.end(), p.normalisation.bias);
  std::copy(pad.begin(), pad.end(), p.normalisation.pad);
  run(tensors, stream, p, preprocess_batch_host, PVLR_CUDA_LAUNCHER(preprocess_batch_cuda));
}

const Registered registered_preprocess([](py::module_& module) {
  module.def("preprocess_batch", &preprocess_batch, py::arg("frames"), py::arg("out"), py::arg("scale"),
             py::arg("bias"), py::arg("pad"), py::arg("threads"), py::arg("stream"),
             "Resize and normalise a batch of frames. Use pvlr_sdk.kernels.");
});

}  // namespace
}  // namespace pvlr::bindings
