#include "pvlr/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "filter.h"
#include "passes.h"
#include "rows.h"

namespace pvlr {
namespace {

constexpr std::int64_t kMaxSide = std::int64_t{1} << 20;  // keeps every product of two sides far inside 64 bits

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

void check(const ChromaPlanes& chroma) {
  require(chroma.u != nullptr && chroma.v != nullptr, "chroma.u, chroma.v: must not be null");
  require(chroma.left == 0 || chroma.left == 1, "chroma.left: must be 0 or 1");
  require(chroma.top == 0 || chroma.top == 1, "chroma.top: must be 0 or 1");
  require(chroma.matrix == YuvMatrix::kBt601 || chroma.matrix == YuvMatrix::kBt709, "chroma.matrix: unknown");
  require(chroma.range == YuvRange::kLimited || chroma.range == YuvRange::kFull, "chroma.range: unknown");
}

void check(const PreprocessParams& p) {
  require(p.src != nullptr, "src: is null");
  require(p.dst != nullptr, "dst: is null");
  require(p.src_width >= 1 && p.src_width <= kMaxSide, "src_width: must be in 1..1048576");
  require(p.src_height >= 1 && p.src_height <= kMaxSide, "src_height: must be in 1..1048576");
  require(p.dst_width >= 1 && p.dst_width <= kMaxSide, "dst_width: must be in 1..1048576");
  require(p.dst_height >= 1 && p.dst_height <= kMaxSide, "dst_height: must be in 1..1048576");
  require(p.format >= PixelFormat::kRgb && p.format <= PixelFormat::kI420, "format: unknown pixel format");
  if (p.format == PixelFormat::kNv12 || p.format == PixelFormat::kI420) check(p.chroma);
  require(p.region_width >= 1 && p.region_left >= 0 && p.region_width <= p.dst_width - p.region_left,
          "region_left, region_width: the region must lie inside dst");
  require(p.region_height >= 1 && p.region_top >= 0 && p.region_height <= p.dst_height - p.region_top,
          "region_top, region_height: the region must lie inside dst");
  for (int c = 0; c < 3; ++c) {
    require(std::isfinite(p.scale[c]) && std::isfinite(p.bias[c]) && std::isfinite(p.pad[c]),
            "scale, bias, pad: must be finite");
  }
}

// Where a value of dst is: of channel c at pixel i, pixels counted row by row.
struct Layout {
  explicit Layout(const PreprocessParams& p)
      : step(p.channels_last ? 3 : 1), plane(p.channels_last ? 1 : p.dst_height * p.dst_width) {}

  float* at(float* dst, std::int64_t c, std::int64_t i) const { return dst + c * plane + i * step; }

  std::int64_t step;   // from a pixel to the next
  std::int64_t plane;  // from a channel to the next
};

void fill_outside(const PreprocessParams& p, const Layout& layout) {
  const std::int64_t right = p.region_left + p.region_width;
  const std::int64_t bottom = p.region_top + p.region_height;
  for (int c = 0; c < 3; ++c) {
    const auto fill = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) *layout.at(p.dst, c, i) = p.pad[c];
    };
    fill(0, p.region_top * p.dst_width);
    for (std::int64_t y = p.region_top; y < bottom; ++y) {
      fill(y * p.dst_width, y * p.dst_width + p.region_left);
      fill(y * p.dst_width + right, (y + 1) * p.dst_width);
    }
    fill(bottom * p.dst_width, p.dst_height * p.dst_width);
  }
}

// What a thread keeps between calls, so that frames of the same size cost no allocation.
struct Workspace {
  AxisFilter vertical;
  AxisFilter horizontal;
  RowWindow rows;
  std::vector<float> line;
};

HorizontalPass horizontal_pass(std::int64_t channels) {
  const Passes& passes = best_passes();
  if (channels == 1) return passes.horizontal_1;
  return channels == 3 ? passes.horizontal_3 : passes.horizontal_4;
}

}  // namespace

void preprocess(PreprocessParams params) {
  check(params);
  thread_local Workspace work;
  work.vertical.prepare(params.src_height, params.region_height);
  work.horizontal.prepare(params.src_width, params.region_width);
  work.rows.prepare(params, work.vertical.taps());
  const std::int64_t line_size = work.rows.row_bytes();
  work.line.resize(static_cast<std::size_t>(line_size + 4));  // the last pixel is loaded as four floats too

  const Layout layout(params);
  fill_outside(params, layout);

  // The passes work in the order in which the channels lie in memory.
  const bool blue_first = work.rows.blue_first();
  float scale[3];
  float bias[3];
  float* planes[3];
  for (int c = 0; c < 3; ++c) {
    const int rgb = blue_first ? 2 - c : c;
    scale[c] = params.scale[rgb];
    bias[c] = params.bias[rgb];
    planes[c] = layout.at(params.dst, rgb, params.region_top * params.dst_width + params.region_left);
  }

  const VerticalPass vertical = best_passes().vertical;
  const HorizontalPass horizontal = horizontal_pass(work.rows.channels());
  for (std::int64_t y = 0; y < params.region_height; ++y) {
    const std::int64_t count = work.vertical.count(y);
    vertical(work.rows.at(work.vertical.first(y), count), work.vertical.weights(y), count, line_size, work.line.data());
    horizontal(work.line.data(), work.horizontal, scale, bias, planes, layout.step);
    for (float*& plane : planes) plane += params.dst_width * layout.step;
  }
}

}  // namespace pvlr
