#include "rows.h"

#include <algorithm>
#include <cstddef>

#include "formats.h"
#include "passes.h"

namespace pvlr {

void RowWindow::prepare(const BatchFrame& frame, std::int64_t max_rows) {
  frame_ = frame;
  pointers_.resize(static_cast<std::size_t>(max_rows));
  channels_ = is_yuv(frame.format) ? 4 : packed_bytes(frame.format);
  if (!is_yuv(frame.format)) return;
  skipped_ = frame.crop.left % 2;
  pairs_ = (skipped_ + frame.crop.width + 1) / 2;
  next_row_ = 0;
  ring_.resize(static_cast<std::size_t>(max_rows * 2 * pairs_ * channels_));
  scratch_.resize(static_cast<std::size_t>(4 * pairs_));
}

const std::uint8_t* const* RowWindow::at(std::int64_t first, std::int64_t count) {
  const bool yuv = is_yuv(frame_.format);
  const auto ring_rows = static_cast<std::int64_t>(pointers_.size());
  const auto slot = [&](std::int64_t y) { return ring_.data() + y % ring_rows * 2 * pairs_ * channels_; };
  for (next_row_ = std::max(first, next_row_); yuv && next_row_ < first + count; ++next_row_) {
    convert(next_row_, slot(next_row_));
  }
  const std::uint8_t* const corner =
      frame_.planes[0] + frame_.crop.top * frame_.pitches[0] + frame_.crop.left * channels_;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int64_t y = first + k;
    pointers_[static_cast<std::size_t>(k)] = yuv ? slot(y) + skipped_ * channels_ : corner + y * frame_.pitches[0];
  }
  return pointers_.data();
}

// Converts whole pairs of pixels. The second pixel of the last pair may lie outside a frame of odd width.
void RowWindow::convert(std::int64_t y, std::uint8_t* packed) {
  const auto& planes = frame_.planes;
  const auto& pitches = frame_.pitches;
  const std::int64_t row = frame_.crop.top + y;
  const std::int64_t left = frame_.crop.left - skipped_;
  const std::uint8_t* luma = planes[0] + row * pitches[0] + left;
  if (left + 2 * pairs_ > frame_.width) {
    std::copy_n(luma, frame_.width - left, scratch_.data());
    luma = scratch_.data();
  }
  const std::uint8_t* chroma = planes[1] + row / 2 * pitches[1];
  if (frame_.format == PixelFormat::kNv12) {
    chroma += left;
  } else {
    const std::uint8_t* const u = chroma + left / 2;
    const std::uint8_t* const v = planes[2] + row / 2 * pitches[2] + left / 2;
    std::uint8_t* const interleaved = scratch_.data() + 2 * pairs_;
    for (std::int64_t x = 0; x < pairs_; ++x) {
      interleaved[2 * x] = u[x];
      interleaved[2 * x + 1] = v[x];
    }
    chroma = interleaved;
  }
  best_passes().nv12(luma, chroma, pairs_, frame_.matrix, frame_.range, packed);
}

}  // namespace pvlr
