#include "check.h"

#include <cmath>
#include <cstdint>

#include "host/common/check.h"

namespace pvlr {
namespace {

bool is_batch_side(std::int32_t side) { return side >= 1 && side <= kMaxBatchSide; }

// Written so that nothing overflows.
bool inside(const Rectangle& r, std::int64_t width, std::int64_t height) {
  return r.left >= 0 && r.top >= 0 && r.width >= 1 && r.height >= 1 && r.width <= width - r.left &&
         r.height <= height - r.top;
}

Status check_format(PixelFormat format, YuvMatrix matrix, YuvRange range) {
  if (format < PixelFormat::kRgb || format > PixelFormat::kI420) return invalid("format: unknown pixel format");
  if (!is_yuv(format)) return {};
  if (matrix != YuvMatrix::kBt601 && matrix != YuvMatrix::kBt709) return invalid("matrix: must be BT.601 or BT.709");
  if (range != YuvRange::kLimited && range != YuvRange::kFull) return invalid("range: must be limited or full");
  return {};
}

Status check_normalisation(const Normalisation& n) {
  for (int c = 0; c < 3; ++c) {
    if (!std::isfinite(n.scale[c])) return invalid("scale: must be finite");
    if (!std::isfinite(n.bias[c])) return invalid("bias: must be finite");
    if (!std::isfinite(n.pad[c])) return invalid("pad: must be finite");
  }
  return {};
}

Status check_frame(const BatchFrame& f, const PreprocessBatchParams& params) {
  if (!is_batch_side(f.width)) return invalid("width: must be between 1 and 16384");
  if (!is_batch_side(f.height)) return invalid("height: must be between 1 and 16384");
  PVLR_RETURN_IF_ERROR(check_format(f.format, f.matrix, f.range));
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

Status check_preprocess(const PreprocessParams& p) {
  if (p.src == nullptr) return invalid("src: must not be null");
  if (p.dst == nullptr) return invalid("dst: must not be null");
  if (!is_size(p.src_width)) return invalid("src_width: must be between 1 and 2^20");
  if (!is_size(p.src_height)) return invalid("src_height: must be between 1 and 2^20");
  if (!is_size(p.dst_width)) return invalid("dst_width: must be between 1 and 2^20");
  if (!is_size(p.dst_height)) return invalid("dst_height: must be between 1 and 2^20");
  const ChromaPlanes& chroma = p.chroma;
  PVLR_RETURN_IF_ERROR(check_format(p.format, chroma.matrix, chroma.range));
  if (is_yuv(p.format)) {
    if (chroma.u == nullptr || chroma.v == nullptr) return invalid("chroma.u, chroma.v: must not be null");
    if (chroma.left != 0 && chroma.left != 1) return invalid("chroma.left: must be 0 or 1");
    if (chroma.top != 0 && chroma.top != 1) return invalid("chroma.top: must be 0 or 1");
  }
  if (!inside(p.region, p.dst_width, p.dst_height)) {
    return invalid("region: must lie inside the output and have a pixel");
  }
  return check_normalisation(p.normalisation);
}

Status check_preprocess_batch(const PreprocessBatchParams& p) {
  if (p.frames == nullptr) return invalid("frames: must not be null");
  if (!is_size(p.count)) return invalid("count: must be between 1 and 2^20");
  PVLR_RETURN_IF_ERROR(check_common(p.type, p.threads));
  if (p.dst == nullptr) return invalid("dst: must not be null");
  if (reinterpret_cast<std::uintptr_t>(p.dst) % (p.type == DataType::kFloat32 ? 4 : 2) != 0) {
    return invalid("dst: must be aligned to its type");
  }
  if (!is_batch_side(p.dst_width)) return invalid("dst_width: must be between 1 and 16384");
  if (!is_batch_side(p.dst_height)) return invalid("dst_height: must be between 1 and 16384");
  PVLR_RETURN_IF_ERROR(check_normalisation(p.normalisation));
  for (std::int64_t i = 0; i < p.count; ++i) PVLR_RETURN_IF_ERROR(check_frame(p.frames[i], p));
  return {};
}

}  // namespace pvlr
