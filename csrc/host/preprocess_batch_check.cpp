#include <cmath>
#include <cstdint>

#include "pvlr/preprocess_batch.h"

namespace pvlr {
namespace {

constexpr std::int64_t kMostPictures = std::int64_t{1} << 20;
constexpr std::int64_t kLongestPitch = std::int64_t{1} << 30;

Status invalid(const char* message) { return {StatusCode::kInvalidArgument, message}; }

bool possible(std::int32_t side) { return side >= 1 && side <= kMaxBatchSide; }

// Written so that nothing overflows.
bool inside(const Rectangle& r, std::int32_t width, std::int32_t height) {
  return r.left >= 0 && r.top >= 0 && r.width >= 1 && r.height >= 1 && r.left < width && r.top < height &&
         r.width <= width - r.left && r.height <= height - r.top;
}

struct Planes {
  int count;
  std::int64_t row_bytes[3];
};

Planes planes_of(const BatchPicture& p) {
  const std::int64_t chroma = (std::int64_t{p.width} + 1) / 2;
  switch (p.format) {
    case PixelFormat::kGray:
      return {1, {p.width, 0, 0}};
    case PixelFormat::kRgba:
    case PixelFormat::kBgra:
      return {1, {4 * std::int64_t{p.width}, 0, 0}};
    case PixelFormat::kNv12:
      return {2, {p.width, 2 * chroma, 0}};
    case PixelFormat::kI420:
      return {3, {p.width, chroma, chroma}};
    default:
      return {1, {3 * std::int64_t{p.width}, 0, 0}};
  }
}

Status check_picture(const BatchPicture& p, const PreprocessBatchParams& params) {
  if (!possible(p.width)) return invalid("width: must be between 1 and 16384");
  if (!possible(p.height)) return invalid("height: must be between 1 and 16384");
  if (p.format < PixelFormat::kRgb || p.format > PixelFormat::kI420) return invalid("format: unknown pixel format");
  if (p.format == PixelFormat::kNv12 || p.format == PixelFormat::kI420) {
    if (p.matrix != YuvMatrix::kBt601 && p.matrix != YuvMatrix::kBt709) {
      return invalid("matrix: must be BT.601 or BT.709");
    }
    if (p.range != YuvRange::kLimited && p.range != YuvRange::kFull) return invalid("range: must be limited or full");
  }
  const Planes planes = planes_of(p);
  for (int i = 0; i < planes.count; ++i) {
    if (p.planes[i] == nullptr) return invalid("planes: those of the format must not be null");
    const std::int64_t pitch = p.pitches[i];
    if (pitch > kLongestPitch || pitch < -kLongestPitch || (pitch < 0 ? -pitch : pitch) < planes.row_bytes[i]) {
      return invalid("pitches: must hold a row of the format, and be at most 2^30");
    }
  }
  if (!inside(p.crop, p.width, p.height)) return invalid("crop: must lie inside the frame and have a pixel");
  if (!inside(p.region, params.dst_width, params.dst_height)) {
    return invalid("region: must lie inside the output and have a pixel");
  }
  return {};
}

}  // namespace

Status check_preprocess_batch(const PreprocessBatchParams& p) {
  if (p.pictures == nullptr) return invalid("pictures: must not be null");
  if (p.count < 1 || p.count > kMostPictures) return invalid("count: must be between 1 and 2^20");
  if (p.type != DataType::kFloat32 && p.type != DataType::kFloat16 && p.type != DataType::kBfloat16) {
    return invalid("type: must be float32, float16 or bfloat16");
  }
  if (p.dst == nullptr) return invalid("dst: must not be null");
  if (reinterpret_cast<std::uintptr_t>(p.dst) % (p.type == DataType::kFloat32 ? 4 : 2) != 0) {
    return invalid("dst: must be aligned to its type");
  }
  if (!possible(p.dst_width)) return invalid("dst_width: must be between 1 and 16384");
  if (!possible(p.dst_height)) return invalid("dst_height: must be between 1 and 16384");
  if (p.threads < 0 || p.threads > 1024) return invalid("threads: must be between 0 and 1024");
  for (int c = 0; c < 3; ++c) {
    if (!std::isfinite(p.scale[c])) return invalid("scale: must be finite");
    if (!std::isfinite(p.bias[c])) return invalid("bias: must be finite");
    if (!std::isfinite(p.pad[c])) return invalid("pad: must be finite");
  }
  for (std::int64_t i = 0; i < p.count; ++i) {
    const Status checked = check_picture(p.pictures[i], p);
    if (!checked.ok()) return checked;
  }
  return {};
}

}  // namespace pvlr
