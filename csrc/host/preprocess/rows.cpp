#include "rows.h"

#include <algorithm>
#include <cstddef>

#include "check.h"
#include "passes.h"

namespace pvlr {
namespace {

template <int kChannels>
void gather(const std::uint8_t* row, std::int64_t pixel_stride, std::int64_t channel_stride, std::int64_t width,
            std::uint8_t* packed) {
  for (std::int64_t x = 0; x < width; ++x) {
    for (int c = 0; c < kChannels; ++c) packed[x * kChannels + c] = row[x * pixel_stride + c * channel_stride];
  }
}

}  // namespace

void RowWindow::prepare(const PreprocessParams& params, std::int64_t max_rows) {
  params_ = params;
  blue_first_ = params.format == PixelFormat::kBgr || params.format == PixelFormat::kBgra;
  skipped_ = 0;
  std::int64_t ring_width = params.src_width;
  if (is_yuv(params.format)) {
    channels_ = 4;
    in_place_ = false;
    skipped_ = params.chroma.left;
    ring_width = (skipped_ + params.src_width + 1) / 2 * 2;
    yuv_.resize(static_cast<std::size_t>(2 * ring_width));
  } else if (params.format == PixelFormat::kGray) {
    channels_ = 1;
    in_place_ = params.src_pixel_stride == 1;
  } else {
    if (params.src_channel_stride == -1) {  // frame[:, :, ::-1]
      params_.src -= 2;
      params_.src_channel_stride = 1;
      blue_first_ = !blue_first_;
    }
    const std::int64_t step = params.src_pixel_stride;
    in_place_ = params_.src_channel_stride == 1 && (step == 3 || step == 4);
    channels_ = in_place_ ? step : 3;
  }

  pointers_.resize(static_cast<std::size_t>(max_rows));
  next_row_ = 0;
  ring_rows_ = max_rows;
  ring_stride_ = ring_width * channels_;
  if (!in_place_) ring_.resize(static_cast<std::size_t>(max_rows * ring_stride_));
}

const std::uint8_t* const* RowWindow::at(std::int64_t first, std::int64_t count) {
  if (in_place_) {
    for (std::int64_t k = 0; k < count; ++k) {
      pointers_[static_cast<std::size_t>(k)] = params_.src + (first + k) * params_.src_row_stride;
    }
    return pointers_.data();
  }
  const auto slot = [&](std::int64_t y) { return ring_.data() + (y % ring_rows_) * ring_stride_; };
  for (next_row_ = std::max(first, next_row_); next_row_ < first + count; ++next_row_) {
    convert(next_row_, slot(next_row_));
  }
  for (std::int64_t k = 0; k < count; ++k)
    pointers_[static_cast<std::size_t>(k)] = slot(first + k) + skipped_ * channels_;
  return pointers_.data();
}

void RowWindow::convert(std::int64_t y, std::uint8_t* packed) {
  const PreprocessParams& p = params_;
  const std::uint8_t* row = p.src + y * p.src_row_stride;
  if (is_yuv(p.format)) {
    convert_yuv(y, packed);
  } else if (channels_ == 1) {
    gather<1>(row, p.src_pixel_stride, 0, p.src_width, packed);
  } else {
    gather<3>(row, p.src_pixel_stride, p.src_channel_stride, p.src_width, packed);
  }
}

// Converts whole pairs of pixels; the first pixel may lie before the frame and the last one after it.
void RowWindow::convert_yuv(std::int64_t y, std::uint8_t* packed) {
  const PreprocessParams& p = params_;
  const ChromaPlanes& chroma = p.chroma;
  const std::int64_t pairs = (skipped_ + p.src_width + 1) / 2;
  const std::int64_t chroma_row = (y + chroma.top) / 2;
  const std::uint8_t* luma = p.src + y * p.src_row_stride;
  const std::uint8_t* u = chroma.u + chroma_row * chroma.u_row_stride;
  const std::uint8_t* v = chroma.v + chroma_row * chroma.v_row_stride;
  if (p.src_pixel_stride != 1 || skipped_ != 0 || p.src_width % 2 != 0) {
    gather<1>(luma, p.src_pixel_stride, 0, p.src_width, yuv_.data() + skipped_);
    luma = yuv_.data();
  }
  if (chroma.pixel_stride != 2 || v != u + 1) {
    std::uint8_t* const interleaved = yuv_.data() + 2 * pairs;
    for (std::int64_t x = 0; x < pairs; ++x) {
      interleaved[2 * x] = u[x * chroma.pixel_stride];
      interleaved[2 * x + 1] = v[x * chroma.pixel_stride];
    }
    u = interleaved;
  }
  best_passes().nv12(luma, u, pairs, chroma.matrix, chroma.range, packed);
}

}  // namespace pvlr
