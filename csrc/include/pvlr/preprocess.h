// The pixel contract: any uint8 frame -> normalised float32 planes, in one fused pass.
#pragma once

#include <cstdint>

#include "pvlr/pixel_format.h"

namespace pvlr {

// Everything that a pass needs, as plain data, so that a kernel on another device can take the same struct.
// Strides are in bytes and may be negative; nothing has to be contiguous but dst.
struct PreprocessParams {
  const std::uint8_t* src;  // first channel of the top left pixel
  std::int64_t src_row_stride;
  std::int64_t src_pixel_stride;
  std::int64_t src_channel_stride;  // not used by kGray and kNv12
  std::int64_t src_width;           // of the picture; an NV12 buffer has src_height * 3 / 2 rows
  std::int64_t src_height;
  PixelFormat format;

  float* dst;  // (3, dst_height, dst_width), planes in RGB order
  std::int64_t dst_width;
  std::int64_t dst_height;

  // Where the picture goes inside dst; what lies outside is filled with pad (letterbox).
  std::int64_t region_left;
  std::int64_t region_top;
  std::int64_t region_width;
  std::int64_t region_height;

  // value = pixel * scale + bias, with pixel in 0..255; pad is already normalised. RGB order.
  float scale[3];
  float bias[3];
  float pad[3];
};

// Resizes with an antialiased triangle filter (half-pixel centres, float32 throughout) and normalises, on the CPU.
// Runs on the calling thread and is safe to call from many. Allocates only when a thread sees new sizes.
// Throws std::invalid_argument, naming the field, when params make no sense.
void preprocess(PreprocessParams params);

}  // namespace pvlr
