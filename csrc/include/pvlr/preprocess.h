// The pixel contract: any uint8 frame -> normalised float32 planes or pixels, in one fused pass.
#pragma once

#include <cstdint>

#include "pvlr/pixel_format.h"

namespace pvlr {

// The chroma of a kNv12 or kI420 frame. Strides are in bytes, from one chroma value of a plane to the next.
struct ChromaPlanes {
  const std::uint8_t* u;  // of the top left pixel
  const std::uint8_t* v;
  std::int64_t u_row_stride;
  std::int64_t v_row_stride;
  std::int64_t pixel_stride;
  // 1 where the picture begins with the second column or row that its chroma belongs to, as a crop may; else 0.
  std::int32_t left;
  std::int32_t top;
  YuvMatrix matrix;
  YuvRange range;
};

// Everything that a pass needs, as plain data, so that a kernel on another device can take the same struct.
// Strides are in bytes and may be negative; nothing has to be contiguous but dst.
struct PreprocessParams {
  const std::uint8_t* src;  // first channel (or luma) of the top left pixel
  std::int64_t src_row_stride;
  std::int64_t src_pixel_stride;
  std::int64_t src_channel_stride;  // not used by kGray, kNv12 and kI420
  std::int64_t src_width;
  std::int64_t src_height;
  PixelFormat format;
  ChromaPlanes chroma;  // used by kNv12 and kI420 only

  float* dst;          // (3, dst_height, dst_width), planes in RGB order
  bool channels_last;  // dst is (dst_height, dst_width, 3) instead
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
