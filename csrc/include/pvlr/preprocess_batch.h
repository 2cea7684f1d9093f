// The pixel contract for a batch: any number of frames, or parts of frames, of any sizes and formats -> one tensor of
// normalised planes. The same arithmetic as pvlr/preprocess.h.
#pragma once

#include <cstdint>

#include "pvlr/data_type.h"
#include "pvlr/pixel_format.h"
#include "pvlr/status.h"

namespace pvlr {

// In pixels.
struct Rectangle {
  std::int32_t left;
  std::int32_t top;
  std::int32_t width;
  std::int32_t height;
};

// Frames may have any alignment. Sides are at most this long, those of the output too.
constexpr std::int32_t kMaxBatchSide = 16384;

// One entry of the batch: a frame or a rectangle of it, and where it goes. Regions of interest are pictures that share
// a frame.
struct BatchPicture {
  // Top left pixel of each plane, and bytes from a row to the next (negative: the rows run upwards).
  //   kRgb, kBgr, kRgba, kBgra, kGray: one plane, pixels packed
  //   kNv12: luma, then pairs of chroma (U, V)
  //   kI420: luma, U, V
  const std::uint8_t* planes[3];
  std::int64_t pitches[3];
  std::int32_t width;  // of the frame; may be odd for kNv12 and kI420 too: chroma planes then round up
  std::int32_t height;
  PixelFormat format;
  YuvMatrix matrix;  // of kNv12 and kI420, as is the range
  YuvRange range;

  Rectangle crop;    // of the frame: resized as if nothing were around it
  Rectangle region;  // of the output; what lies outside is filled with pad (letterbox)
};

struct PreprocessBatchParams {
  const BatchPicture* pictures;  // in host memory, also for a device; read before the call returns
  std::int64_t count;

  void* dst;  // (count, 3, dst_height, dst_width), contiguous, planes in RGB order
  DataType type;
  std::int32_t dst_width;
  std::int32_t dst_height;

  // value = pixel * scale + bias, with pixel in 0..255; pad is already normalised. RGB order.
  float scale[3];
  float bias[3];
  float pad[3];

  // On the CPU only: how many threads share the pictures; 0 is 1. Results don't depend on it.
  std::int64_t threads;
};

// Whether sizes, pointers, pitches and rectangles make sense; the message names the first field that does not.
Status check_preprocess_batch(const PreprocessBatchParams& params);

// Queues the work on a cudaStream_t of the current device; neither allocates nor waits, and needs no workspace: the
// pictures travel as kernel arguments. One launch for each kPicturesPerLaunch pictures. May be captured in a graph,
// which keeps the addresses of frames and output. All sums are float32; results are the same bit for bit from run to
// run.
constexpr std::int64_t kPicturesPerLaunch = 32;
Status preprocess_batch_cuda(const PreprocessBatchParams& params, void* stream);

// The same on the CPU, frames and output in host memory. Safe to call from many threads.
Status preprocess_batch_host(const PreprocessBatchParams& params);

}  // namespace pvlr
