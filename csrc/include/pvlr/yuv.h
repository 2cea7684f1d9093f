// How a frame's pixels are stored, and from Y, U, V to red, green and blue, each of 8 bits, in fixed point: for the CPU
// and the kernels.
#pragma once

#include <cstdint>

#include "pvlr/common.h"

namespace pvlr {

// kNv12 and kI420 have a luma value for each pixel, and one pair of chroma values (U = Cb, V = Cr) for 2x2 pixels.
enum class PixelFormat : std::int32_t { kRgb, kBgr, kRgba, kBgra, kGray, kNv12, kI420 };

enum class YuvMatrix : std::int32_t { kBt601, kBt709 };

// Limited: luma 16..235 and chroma 16..240 are what full range calls 0..255.
enum class YuvRange : std::int32_t { kLimited, kFull };

// In units of 2^-20:
//   light = max(0, Y - black) * luma
//   red = light + (V - 128) * red_v     green = light + (U - 128) * green_u + (V - 128) * green_v
//   blue = light + (U - 128) * blue_u   each rounded to the nearest and clipped to 0..255
struct YuvCoefficients {
  std::int32_t black;
  std::int32_t luma;
  std::int32_t red_v;
  std::int32_t green_u;
  std::int32_t green_v;
  std::int32_t blue_u;
};

constexpr int kYuvShift = 20;

// From ITU-R BT.601 (Kr 0.299, Kb 0.114) and BT.709 (Kr 0.2126, Kb 0.0722): red_v = 2 (1 - Kr), blue_u = 2 (1 - Kb),
// green_u = -2 Kb (1 - Kb) / Kg, green_v = -2 Kr (1 - Kr) / Kg; in limited range chroma times 255 / 224 and luma times
// 255 / 219. BT.601 in limited range has OpenCV's coefficients instead (1.164, 1.596, -0.391, -0.813, 2.018), so that
// both agree bit for bit.
PVLR_HOST_DEVICE constexpr YuvCoefficients yuv_coefficients(YuvMatrix matrix, YuvRange range) {
  if (matrix == YuvMatrix::kBt601) {
    if (range == YuvRange::kLimited) return {16, 1220542, 1673527, -409993, -852492, 2116026};
    return {0, 1048576, 1470104, -360853, -748826, 1858077};
  }
  if (range == YuvRange::kLimited) return {16, 1220945, 1879825, -223607, -558796, 2215014};
  return {0, 1048576, 1651297, -196424, -490864, 1945738};
}

}  // namespace pvlr
