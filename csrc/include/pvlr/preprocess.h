// The pixel contract: uint8 frames of any size and format -> normalised planes, resized with an antialiased triangle
// filter (half-pixel centres, float32 throughout). For a batch of frames, on the CPU or on a CUDA device.
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

// The sides of frames and output are at most this long, on a device and on the CPU.
constexpr std::int32_t kMaxBatchSide = 16384;
constexpr std::int32_t kMaxHostSide = 1 << 20;

// A frame or a rectangle of it. Regions of interest are entries of a batch that share a frame.
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
  // On the CPU and in float32 only: dst is (count, dst_height, dst_width, 3).
  bool channels_last;
};

// Whether sizes, pointers, pitches and rectangles are valid; the message names the first field that is not.
Status check_preprocess_batch(const PreprocessBatchParams& params, bool on_host = false);

// Queues the work on a cudaStream_t of the current device; neither allocates nor waits, and needs no workspace: the
// frames' descriptions travel as kernel arguments. One launch for each kFramesPerLaunch frames. Can be captured in a
// graph, which keeps the addresses of frames and output. All sums are float32; results are bit-identical from run to
// run.
constexpr std::int64_t kFramesPerLaunch = 32;
Status preprocess_batch_cuda(const PreprocessBatchParams& params, void* stream);

// The same on the CPU, frames and output in host memory. Safe to call from many threads. Allocates only when a thread
// sees new sizes, and for more than one thread.
Status preprocess_batch_host(const PreprocessBatchParams& params);

}  // namespace pvlr
