#include "pvlr/preprocess.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "filter.h"
#include "host/common/parallel.h"
#include "passes.h"
#include "rows.h"

namespace pvlr {
namespace {

// Channel c of pixel i, pixels counted row by row, is at dst[c * plane + i * step].
void fill_outside(const Rectangle& region, const PreprocessBatchParams& p, float* dst, std::int64_t plane,
                  std::int64_t step) {
  const std::int64_t width = p.dst_width;
  const std::int64_t right = region.left + region.width;
  const std::int64_t bottom = region.top + region.height;
  for (int c = 0; c < 3; ++c) {
    const auto fill = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) dst[c * plane + i * step] = p.normalisation.pad[c];
    };
    fill(0, region.top * width);
    for (std::int64_t y = region.top; y < bottom; ++y) {
      fill(y * width, y * width + region.left);
      fill(y * width + right, (y + 1) * width);
    }
    fill(bottom * width, p.dst_height * width);
  }
}

// What a thread keeps between calls, so that frames of the same size need no allocation.
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

// Throws std::bad_alloc.
void preprocess_frame(const BatchFrame& frame, const PreprocessBatchParams& params, float* dst) {
  thread_local Workspace work;
  const Rectangle& region = frame.region;
  work.vertical.prepare(frame.crop.height, region.height);
  work.horizontal.prepare(frame.crop.width, region.width);
  work.rows.prepare(frame, work.vertical.taps());
  const std::int64_t line_size = frame.crop.width * work.rows.channels();
  work.line.resize(static_cast<std::size_t>(line_size + 4));  // the last pixel is loaded as four floats too

  const std::int64_t step = params.channels_last ? 3 : 1;
  const std::int64_t plane = params.channels_last ? 1 : std::int64_t{params.dst_height} * params.dst_width;
  fill_outside(region, params, dst, plane, step);

  // The passes work in the order of the channels in memory.
  const bool blue_first = frame.format == PixelFormat::kBgr || frame.format == PixelFormat::kBgra;
  float scale[3];
  float bias[3];
  float* planes[3];
  for (int c = 0; c < 3; ++c) {
    const int rgb = blue_first ? 2 - c : c;
    scale[c] = params.normalisation.scale[rgb];
    bias[c] = params.normalisation.bias[rgb];
    planes[c] = dst + rgb * plane + (std::int64_t{region.top} * params.dst_width + region.left) * step;
  }

  const VerticalPass vertical = best_passes().vertical;
  const HorizontalPass horizontal = horizontal_pass(work.rows.channels());
  for (std::int64_t y = 0; y < region.height; ++y) {
    const std::int64_t count = work.vertical.count(y);
    vertical(work.rows.at(work.vertical.first(y), count), work.vertical.weights(y), count, line_size, work.line.data());
    horizontal(work.line.data(), work.horizontal, scale, bias, planes, step);
    for (float*& row : planes) row += params.dst_width * step;
  }
}

// Entries begin..end-1 of a batch.
template <typename T>
void preprocess_entries(const PreprocessBatchParams& params, std::int64_t begin, std::int64_t end) {
  const std::int64_t size = std::int64_t{3} * params.dst_width * params.dst_height;
  for (std::int64_t i = begin; i < end; ++i) {
    T* const to = static_cast<T*>(params.dst) + i * size;
    if constexpr (std::is_same_v<T, float>) {
      preprocess_frame(params.frames[i], params, to);
    } else {
      thread_local std::vector<float> planes;
      planes.resize(static_cast<std::size_t>(size));
      preprocess_frame(params.frames[i], params, planes.data());
      for (std::int64_t j = 0; j < size; ++j) from_float(planes[static_cast<std::size_t>(j)], to + j);
    }
  }
}

}  // namespace

Status preprocess_batch_host(const PreprocessBatchParams& params) {
  PVLR_RETURN_IF_ERROR(check_preprocess_batch(params, true));
  return run_typed(params.type, params.count, params.threads, "frames: not enough memory for the scratch arrays",
                   [&params](auto element, std::int64_t begin, std::int64_t end) {
                     preprocess_entries<decltype(element)>(params, begin, end);
                   });
}

}  // namespace pvlr
