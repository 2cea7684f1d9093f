#include "rows.h"

#include <algorithm>
#include <cstddef>

namespace pvlr {
namespace {

void gather(const PreprocessParams& p, std::int64_t y, std::int64_t channels, std::uint8_t* packed) {
  const std::uint8_t* row = p.src + y * p.src_row_stride;
  for (std::int64_t x = 0; x < p.src_width; ++x) {
    const std::uint8_t* pixel = row + x * p.src_pixel_stride;
    for (std::int64_t c = 0; c < channels; ++c) packed[x * channels + c] = pixel[c * p.src_channel_stride];
  }
}

std::uint8_t clip(std::int32_t fixed_point) { return static_cast<std::uint8_t>(std::clamp(fixed_point >> 20, 0, 255)); }

// BT.601, limited range, in the fixed point of OpenCV's cvtColor(COLOR_YUV2RGB_NV12), so that both agree bit by bit.
void nv12_to_rgbx(const PreprocessParams& p, std::int64_t y, std::uint8_t* packed) {
  const std::int64_t step = p.src_pixel_stride;
  const std::uint8_t* luma = p.src + y * p.src_row_stride;
  const std::uint8_t* chroma = p.src + (p.src_height + y / 2) * p.src_row_stride;
  for (std::int64_t x = 0; x < p.src_width; ++x) {
    const std::int64_t pair = x & ~std::int64_t{1};
    const std::int32_t u = chroma[pair * step] - 128;
    const std::int32_t v = chroma[(pair + 1) * step] - 128;
    const std::int32_t l = std::max(0, luma[x * step] - 16) * 1220542 + (1 << 19);
    packed[4 * x + 0] = clip(l + 1673527 * v);
    packed[4 * x + 1] = clip(l - 852492 * v - 409993 * u);
    packed[4 * x + 2] = clip(l + 2116026 * u);
    packed[4 * x + 3] = 0;
  }
}

}  // namespace

void RowWindow::prepare(const PreprocessParams& params, std::int64_t max_rows) {
  params_ = params;
  PreprocessParams& p = params_;
  blue_first_ = p.format == PixelFormat::kBgr || p.format == PixelFormat::kBgra;
  switch (p.format) {
    case PixelFormat::kGray:
      channels_ = 1;
      in_place_ = p.src_pixel_stride == 1;
      break;
    case PixelFormat::kNv12:
      channels_ = 4;
      in_place_ = false;
      break;
    case PixelFormat::kRgba:
    case PixelFormat::kBgra:
      in_place_ = p.src_channel_stride == 1 && p.src_pixel_stride == 4;
      channels_ = in_place_ ? 4 : 3;
      break;
    case PixelFormat::kRgb:
    case PixelFormat::kBgr:
      channels_ = 3;
      if (p.src_channel_stride == -1 && p.src_pixel_stride == 3) {  // frame[:, :, ::-1]
        p.src -= 2;
        p.src_channel_stride = 1;
        blue_first_ = !blue_first_;
      }
      in_place_ = p.src_channel_stride == 1 && p.src_pixel_stride == 3;
      break;
  }

  pointers_.resize(static_cast<std::size_t>(max_rows));
  next_row_ = 0;
  ring_rows_ = max_rows;
  if (!in_place_) ring_.resize(static_cast<std::size_t>(max_rows * p.src_width * channels_));
}

const std::uint8_t* const* RowWindow::at(std::int64_t first, std::int64_t count) {
  if (in_place_) {
    for (std::int64_t k = 0; k < count; ++k) {
      pointers_[static_cast<std::size_t>(k)] = params_.src + (first + k) * params_.src_row_stride;
    }
    return pointers_.data();
  }
  const std::int64_t row_bytes = params_.src_width * channels_;
  const auto slot = [&](std::int64_t y) { return ring_.data() + (y % ring_rows_) * row_bytes; };
  for (std::int64_t y = std::max(first, next_row_); y < first + count; ++y) {
    if (params_.format == PixelFormat::kNv12) {
      nv12_to_rgbx(params_, y, slot(y));
    } else {
      gather(params_, y, channels_, slot(y));
    }
    next_row_ = y + 1;
  }
  for (std::int64_t k = 0; k < count; ++k) pointers_[static_cast<std::size_t>(k)] = slot(first + k);
  return pointers_.data();
}

}  // namespace pvlr
