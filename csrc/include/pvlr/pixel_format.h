// How a frame's pixels are stored.
#pragma once

#include <cstdint>

namespace pvlr {

// kNv12 and kI420 have a luma value for each pixel, and one pair of chroma values (U = Cb, V = Cr) for 2x2 pixels.
enum class PixelFormat : std::int32_t { kRgb, kBgr, kRgba, kBgra, kGray, kNv12, kI420 };

enum class YuvMatrix : std::int32_t { kBt601, kBt709 };

// Limited: luma 16..235 and chroma 16..240 are what full range calls 0..255.
enum class YuvRange : std::int32_t { kLimited, kFull };

}  // namespace pvlr
