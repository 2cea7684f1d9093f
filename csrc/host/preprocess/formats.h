// The properties of pixel formats.
#pragma once

#include "pvlr/preprocess.h"

namespace pvlr {

inline bool is_yuv(PixelFormat format) { return format == PixelFormat::kNv12 || format == PixelFormat::kI420; }

// Bytes of a packed pixel; of a luma value for YUV.
inline std::int32_t packed_bytes(PixelFormat format) {
  if (format == PixelFormat::kRgb || format == PixelFormat::kBgr) return 3;
  return format == PixelFormat::kRgba || format == PixelFormat::kBgra ? 4 : 1;
}

inline int plane_count(PixelFormat format) {
  if (!is_yuv(format)) return 1;
  return format == PixelFormat::kNv12 ? 2 : 3;
}

// Bytes of a row of a frame's plane.
inline std::int64_t row_bytes(PixelFormat format, std::int64_t width, int plane) {
  if (plane == 0) return width * packed_bytes(format);
  const std::int64_t chroma = (width + 1) / 2;
  return format == PixelFormat::kNv12 ? 2 * chroma : chroma;
}

constexpr std::int64_t kMaxPitch = std::int64_t{1} << 30;

}  // namespace pvlr
