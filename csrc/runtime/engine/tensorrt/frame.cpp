#include "frame.h"

#include <cstring>

#include "host/preprocess/formats.h"

namespace pvlr::runtime::tensorrt {
namespace {

constexpr std::int64_t kAlignment = 16;  // of rows: the kernel then reads several bytes at once

// The part that covers the crop; YUV formats keep pairs of rows and columns, which share chroma.
BatchFrame cropped(BatchFrame frame) {
  const int shared = is_yuv(frame.format) ? 1 : 0;
  const std::int32_t left = frame.crop.left & ~shared;
  const std::int32_t top = frame.crop.top & ~shared;
  for (int i = 0; i < plane_count(frame.format); ++i) {
    const bool chroma = i > 0;
    frame.planes[i] += (chroma ? top / 2 : top) * frame.pitches[i] + row_bytes(frame.format, left, i);
  }
  frame.crop.left -= left;
  frame.crop.top -= top;
  frame.width = frame.crop.left + frame.crop.width;
  frame.height = frame.crop.top + frame.crop.height;
  return frame;
}

}  // namespace

void Frame::load(const InputFrame& frame) {
  frame_ = frame;
  bytes_ = 0;
  if (!frame.on_device) return stage();
  if (written_ == nullptr) written_ = cuda::create_event();
  cuda::check(cudaEventRecord(written_.get(), static_cast<cudaStream_t>(frame.stream)), "cudaEventRecord");
}

void Frame::enqueue(cudaStream_t stream) const {
  if (bytes_ == 0) return cuda::check(cudaStreamWaitEvent(stream, written_.get(), 0), "cudaStreamWaitEvent");
  cuda::check(cudaMemcpyAsync(memory_.get(), staging_.get(), bytes_, cudaMemcpyHostToDevice, stream),
              "cudaMemcpyAsync");
}

void Frame::stage() {
  const BatchFrame from = frame_ = cropped(frame_);
  const int planes = plane_count(from.format);
  std::size_t offsets[4] = {};
  for (int i = 0; i < planes; ++i) {
    frame_.pitches[i] = (row_bytes(from.format, from.width, i) + kAlignment - 1) / kAlignment * kAlignment;
    const std::int64_t rows = i == 0 ? from.height : (from.height + 1) / 2;
    offsets[i + 1] = offsets[i] + static_cast<std::size_t>(rows * frame_.pitches[i]);
  }
  if (offsets[planes] > capacity_) {
    capacity_ = 0;
    staging_.reset();  // first: for both there may be too little memory
    memory_.reset();
    staging_ = cuda::allocate_host<std::uint8_t>(offsets[planes]);
    memory_ = cuda::allocate_device<std::uint8_t>(offsets[planes]);
    capacity_ = offsets[planes];
  }
  for (int i = 0; i < planes; ++i) {
    const auto length = static_cast<std::size_t>(row_bytes(from.format, from.width, i));
    const std::uint8_t* row = from.planes[i];
    for (std::size_t to = offsets[i]; to < offsets[i + 1]; to += static_cast<std::size_t>(frame_.pitches[i])) {
      std::memcpy(staging_.get() + to, row, length);
      row += from.pitches[i];
    }
    frame_.planes[i] = memory_.get() + offsets[i];
  }
  bytes_ = offsets[planes];
}

}  // namespace pvlr::runtime::tensorrt
