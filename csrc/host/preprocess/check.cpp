#include "host/common/check.h"

#include <cmath>
#include <cstdint>

#include "formats.h"

namespace pvlr {
namespace {

// Written so that nothing overflows.
bool inside(const Rectangle& r, std::int64_t width, std::int64_t height) {
  return r.left >= 0 && r.top >= 0 && r.width >= 1 && r.height >= 1 && r.width <= width - r.left &&
         r.height <= height - r.top;
}

Status check_normalisation(const Normalisation& n) {
  for (int c = 0; c < 3; ++c) {
    if (!std::isfinite(n.scale[c])) return invalid("scale: must be finite");
    if (!std::isfinite(n.bias[c])) return invalid("bias: must be finite");
    if (!std::isfinite(n.pad[c])) return invalid("pad: must be finite");
  }
  return {};
}

Status check_frame(const BatchFrame& f, const PreprocessBatchParams& params, std::int32_t max_side) {
  if (f.width < 1 || f.width > max_side) return invalid("width: must be at least 1, at most 16384 (CPU: 2^20)");
  if (f.height < 1 || f.height > max_side) return invalid("height: must be at least 1, at most 16384 (CPU: 2^20)");
  if (f.format < PixelFormat::kRgb || f.format > PixelFormat::kI420) return invalid("format: unknown pixel format");
  if (is_yuv(f.format)) {
    const bool known = f.matrix == YuvMatrix::kBt601 || f.matrix == YuvMatrix::kBt709;
    if (!known) return invalid("matrix: must be BT.601 or BT.709");
    if (f.range != YuvRange::kLimited && f.range != YuvRange::kFull) return invalid("range: must be limited or full");
  }
  for (int i = 0; i < plane_count(f.format); ++i) {
    if (f.planes[i] == nullptr) return invalid("planes: those of the format must not be null");
    const std::int64_t pitch = f.pitches[i];
    const bool in_range = pitch <= kMaxPitch && pitch >= -kMaxPitch;
    if (!in_range || (pitch < 0 ? -pitch : pitch) < row_bytes(f.format, f.width, i)) {
      return invalid("pitches: must hold a row of the format, and be at most 2^30");
    }
  }
  if (!inside(f.crop, f.width, f.height)) return invalid("crop: must lie inside the frame and have a pixel");
  if (!inside(f.region, params.dst_width, params.dst_height)) {
    return invalid("region: must lie inside the output and have a pixel");
  }
  return {};
}

}  // namespace

Status check_preprocess_batch(const PreprocessBatchParams& p, bool on_host) {
  const std::int32_t max_side = on_host ? kMaxHostSide : kMaxBatchSide;
  if (p.frames == nullptr) return invalid("frames: must not be null");
  if (!is_size(p.count)) return invalid("count: must be between 1 and 2^20");
  PVLR_RETURN_IF_ERROR(check_common(p.type, p.threads));
  if (p.dst == nullptr) return invalid("dst: must not be null");
  if (reinterpret_cast<std::uintptr_t>(p.dst) % (p.type == DataType::kFloat32 ? 4 : 2) != 0) {
    return invalid("dst: must be aligned to its type");
  }
  if (p.dst_width < 1 || p.dst_width > max_side)
    return invalid("dst_width: must be at least 1, at most 16384 (CPU: 2^20)");
  if (p.dst_height < 1 || p.dst_height > max_side)
    return invalid("dst_height: must be at least 1, at most 16384 (CPU: 2^20)");
  if (p.channels_last && (!on_host || p.type != DataType::kFloat32))
    return invalid("channels_last: must be on the CPU, in float32");
  PVLR_RETURN_IF_ERROR(check_normalisation(p.normalisation));
  for (std::int64_t i = 0; i < p.count; ++i) PVLR_RETURN_IF_ERROR(check_frame(p.frames[i], p, max_side));
  return {};
}

}  // namespace pvlr
