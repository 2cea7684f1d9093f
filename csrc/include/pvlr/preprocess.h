// The pixel contract: uint8 frames of any size and format -> normalised planes, resized with an antialiased triangle
// filter (half-pixel centres, float32 throughout). One frame with any strides on the CPU, or a batch on either device.
#pragma once

#include <cstdint>

#include "pvlr/common.h"
#include "pvlr/yuv.h"

namespace pvlr {

// In pixels.
struct Rectangle {
  std::int32_t left;
  std::int32_t top;
  std::int32_t width;
  std::int32_t height;
};

// value = pixel * scale + bias, with pixel in 0..255; pad is already normalised. RGB order.
struct Normalisation {
  float scale[3];
  float bias[3];
  float pad[3];
};

// The chroma of a kNv12 or kI420 frame. Strides are in bytes, from one chroma value of a plane to the next.
struct ChromaPlanes {
  const std::uint8_t* u;  // of the top left pixel
  const std::uint8_t* v;
  std::int64_t u_row_stride;
  std::int64_t v_row_stride;
  std::int64_t pixel_stride;
  // 1 where the frame begins with the second column or row of its first chroma value, as a crop may; else 0.
  std::int32_t left;
  std::int32_t top;
  YuvMatrix matrix;
  YuvRange range;
};

// One frame. Strides are in bytes and may be negative; only dst must be contiguous.
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
  Rectangle region;  // where the frame goes inside dst; everything outside is filled with pad (letterbox)
  Normalisation normalisation;
};

// Runs on the calling thread; safe to call from many. Allocates only when a thread sees new sizes.
Status preprocess_host(const PreprocessParams& params);

// The sides of a batch's frames and of its output are at most this long.
constexpr std::int32_t kMaxBatchSide = 16384;

// One entry of a batch: a frame or a rectangle of it. Regions of interest are entries that share a frame.
struct BatchFrame {
  // Top left pixel of each plane, with any alignment, and bytes from a row to the next (negative: the rows run
  // upwards).
  //   kRgb, kBgr, kRgba, kBgra, kGray: one plane, pixels packed
  //   kNv12: luma, then pairs of chroma (U, V)
  //   kI420: luma, U, V
  const std::uint8_t* planes[3];
  std::int64_t pitches[3];
  std::int32_t width;  // may be odd for kNv12 and kI420, as may the height: chroma planes then round up
  std::int32_t height;
  PixelFormat format;
  YuvMatrix matrix;  // of kNv12 and kI420, as is the range
  YuvRange range;

  Rectangle crop;    // of the frame: resized as if nothing were around it
  Rectangle region;  // of the output; everything outside is filled with pad (letterbox)
};

// A valid frame of a batch as one of its own, which begins at the crop. What describes the output, except for the
// region, is still zero.
PreprocessParams frame_params(const BatchFrame& frame);

struct PreprocessBatchParams {
  const BatchFrame* frames;  // in host memory, also for a device; read before the call returns
  std::int64_t count;

  void* dst;  // (count, 3, dst_height, dst_width), contiguous, planes in RGB order
  DataType type;
  std::int32_t dst_width;
  std::int32_t dst_height;
  Normalisation normalisation;

  // On the CPU only: how many threads share the frames; 0 is 1. Results don't depend on it.
  std::int64_t threads;
};

// Whether sizes, pointers, pitches and rectangles are valid; the message names the first field that is not.
Status check_preprocess_batch(const PreprocessBatchParams& params);

// Queues the work on a cudaStream_t of the current device; neither allocates nor waits, and needs no workspace: the
// frames' descriptions travel as kernel arguments. One launch for each kFramesPerLaunch frames. Can be captured in a
// graph, which keeps the addresses of frames and output. All sums are float32; results are bit-identical from run to
// run.
constexpr std::int64_t kFramesPerLaunch = 32;
Status preprocess_batch_cuda(const PreprocessBatchParams& params, void* stream);

// The same on the CPU, frames and output in host memory. Safe to call from many threads.
Status preprocess_batch_host(const PreprocessBatchParams& params);

}  // namespace pvlr
