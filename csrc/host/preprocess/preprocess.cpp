#include "pvlr/preprocess.h"

#include <algorithm>
#include <cstddef>
#include <new>
#include <type_traits>
#include <vector>

#include "check.h"
#include "filter.h"
#include "host/common/parallel.h"
#include "passes.h"
#include "rows.h"

namespace pvlr {
namespace {

// Where a value of dst is: of channel c at pixel i, pixels counted row by row.
struct Layout {
  explicit Layout(const PreprocessParams& p)
      : step(p.channels_last ? 3 : 1), plane(p.channels_last ? 1 : p.dst_height * p.dst_width) {}

  float* at(float* dst, std::int64_t c, std::int64_t i) const { return dst + c * plane + i * step; }

  std::int64_t step;   // from a pixel to the next
  std::int64_t plane;  // from a channel to the next
};

void fill_outside(const PreprocessParams& p, const Layout& layout) {
  const Rectangle& region = p.region;
  const std::int64_t right = region.left + region.width;
  const std::int64_t bottom = region.top + region.height;
  for (int c = 0; c < 3; ++c) {
    const auto fill = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) *layout.at(p.dst, c, i) = p.normalisation.pad[c];
    };
    fill(0, region.top * p.dst_width);
    for (std::int64_t y = region.top; y < bottom; ++y) {
      fill(y * p.dst_width, y * p.dst_width + region.left);
      fill(y * p.dst_width + right, (y + 1) * p.dst_width);
    }
    fill(bottom * p.dst_width, p.dst_height * p.dst_width);
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
void preprocess_frame(const PreprocessParams& params) {
  thread_local Workspace work;
  work.vertical.prepare(params.src_height, params.region.height);
  work.horizontal.prepare(params.src_width, params.region.width);
  work.rows.prepare(params, work.vertical.taps());
  const std::int64_t line_size = work.rows.row_bytes();
  work.line.resize(static_cast<std::size_t>(line_size + 4));  // the last pixel is loaded as four floats too

  const Layout layout(params);
  fill_outside(params, layout);

  // The passes work in the order of the channels in memory.
  const bool blue_first = work.rows.blue_first();
  float scale[3];
  float bias[3];
  float* planes[3];
  for (int c = 0; c < 3; ++c) {
    const int rgb = blue_first ? 2 - c : c;
    scale[c] = params.normalisation.scale[rgb];
    bias[c] = params.normalisation.bias[rgb];
    planes[c] = layout.at(params.dst, rgb, params.region.top * params.dst_width + params.region.left);
  }

  const VerticalPass vertical = best_passes().vertical;
  const HorizontalPass horizontal = horizontal_pass(work.rows.channels());
  for (std::int64_t y = 0; y < params.region.height; ++y) {
    const std::int64_t count = work.vertical.count(y);
    vertical(work.rows.at(work.vertical.first(y), count), work.vertical.weights(y), count, line_size, work.line.data());
    horizontal(work.line.data(), work.horizontal, scale, bias, planes, layout.step);
    for (float*& plane : planes) plane += params.dst_width * layout.step;
  }
}

// Entries begin..end-1 of a batch.
template <typename T>
void preprocess_entries(const PreprocessBatchParams& params, std::int64_t begin, std::int64_t end) {
  const std::int64_t size = std::int64_t{3} * params.dst_width * params.dst_height;
  for (std::int64_t i = begin; i < end; ++i) {
    PreprocessParams entry = frame_params(params.frames[i]);
    entry.dst_width = params.dst_width;
    entry.dst_height = params.dst_height;
    entry.normalisation = params.normalisation;
    T* const to = static_cast<T*>(params.dst) + i * size;
    if constexpr (std::is_same_v<T, float>) {
      entry.dst = to;
      preprocess_frame(entry);
    } else {
      thread_local std::vector<float> planes;
      planes.resize(static_cast<std::size_t>(size));
      entry.dst = planes.data();
      preprocess_frame(entry);
      for (std::int64_t j = 0; j < size; ++j) from_float(planes[static_cast<std::size_t>(j)], to + j);
    }
  }
}

}  // namespace

PreprocessParams frame_params(const BatchFrame& frame) {
  const Rectangle& crop = frame.crop;
  PreprocessParams p{};
  p.src_row_stride = frame.pitches[0];
  p.src_pixel_stride = packed_bytes(frame.format);
  p.src_channel_stride = 1;
  p.src = frame.planes[0] + crop.top * p.src_row_stride + crop.left * p.src_pixel_stride;
  p.src_width = crop.width;
  p.src_height = crop.height;
  p.format = frame.format;
  if (is_yuv(frame.format)) {
    const bool interleaved = frame.format == PixelFormat::kNv12;
    ChromaPlanes& chroma = p.chroma;
    chroma.pixel_stride = interleaved ? 2 : 1;
    chroma.u_row_stride = frame.pitches[1];
    chroma.v_row_stride = frame.pitches[interleaved ? 1 : 2];
    const auto corner = [&](const std::uint8_t* plane, std::int64_t row_stride) {
      return plane + crop.top / 2 * row_stride + crop.left / 2 * chroma.pixel_stride;
    };
    chroma.u = corner(frame.planes[1], chroma.u_row_stride);
    chroma.v = corner(interleaved ? frame.planes[1] + 1 : frame.planes[2], chroma.v_row_stride);
    chroma.left = crop.left % 2;
    chroma.top = crop.top % 2;
    chroma.matrix = frame.matrix;
    chroma.range = frame.range;
  }
  p.region = frame.region;
  return p;
}

Status preprocess_host(const PreprocessParams& params) {
  PVLR_RETURN_IF_ERROR(check_preprocess(params));
  try {
    preprocess_frame(params);
  } catch (const std::bad_alloc&) {
    return {StatusCode::kLaunchFailed, "src: not enough memory for the scratch arrays"};
  }
  return {};
}

Status preprocess_batch_host(const PreprocessBatchParams& params) {
  PVLR_RETURN_IF_ERROR(check_preprocess_batch(params));
  return run_typed(params.type, params.count, params.threads, "frames: not enough memory for the scratch arrays",
                   [&params](auto element, std::int64_t begin, std::int64_t end) {
                     preprocess_entries<decltype(element)>(params, begin, end);
                   });
}

}  // namespace pvlr
