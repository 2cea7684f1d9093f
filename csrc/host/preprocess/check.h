// The argument checks of preprocessing, and the properties of pixel formats that they need.
#pragma once

#include "pvlr/preprocess.h"

namespace pvlr {

inline bool is_yuv(PixelFormat format) { return format == PixelFormat::kNv12 || format == PixelFormat::kI420; }

// Bytes of a packed pixel; of a luma value for YUV.
inline std::int32_t packed_bytes(PixelFormat format) {
  if (format == PixelFormat::kRgb || format == PixelFormat::kBgr) return 3;
  return format == PixelFormat::kRgba || format == PixelFormat::kBgra ? 4 : 1;
}

// Whether params are valid; the message names the first field that is not.
Status check_preprocess(const PreprocessParams& params);

}  // namespace pvlr
