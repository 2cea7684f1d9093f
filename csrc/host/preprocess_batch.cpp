#include "pvlr/preprocess_batch.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "float_types.h"
#include "parallel.h"
#include "pvlr/preprocess.h"

namespace pvlr {
namespace {

std::int64_t pixel_bytes(PixelFormat format) {
  if (format == PixelFormat::kRgb || format == PixelFormat::kBgr) return 3;
  return format == PixelFormat::kRgba || format == PixelFormat::kBgra ? 4 : 1;
}

// The same as params of one picture, whose frame begins at the crop.
PreprocessParams one_picture(const PreprocessBatchParams& batch, const BatchPicture& picture) {
  const Rectangle& crop = picture.crop;
  PreprocessParams p{};
  p.src_row_stride = picture.pitches[0];
  p.src_pixel_stride = pixel_bytes(picture.format);
  p.src_channel_stride = 1;
  p.src = picture.planes[0] + crop.top * p.src_row_stride + crop.left * p.src_pixel_stride;
  p.src_width = crop.width;
  p.src_height = crop.height;
  p.format = picture.format;
  if (picture.format == PixelFormat::kNv12 || picture.format == PixelFormat::kI420) {
    const bool interleaved = picture.format == PixelFormat::kNv12;
    ChromaPlanes& chroma = p.chroma;
    chroma.pixel_stride = interleaved ? 2 : 1;
    chroma.u_row_stride = picture.pitches[1];
    chroma.v_row_stride = picture.pitches[interleaved ? 1 : 2];
    const auto corner = [&](const std::uint8_t* plane, std::int64_t row_stride) {
      return plane + crop.top / 2 * row_stride + crop.left / 2 * chroma.pixel_stride;
    };
    chroma.u = corner(picture.planes[1], chroma.u_row_stride);
    chroma.v = corner(interleaved ? picture.planes[1] + 1 : picture.planes[2], chroma.v_row_stride);
    chroma.left = crop.left % 2;
    chroma.top = crop.top % 2;
    chroma.matrix = picture.matrix;
    chroma.range = picture.range;
  }
  p.dst_width = batch.dst_width;
  p.dst_height = batch.dst_height;
  p.region_left = picture.region.left;
  p.region_top = picture.region.top;
  p.region_width = picture.region.width;
  p.region_height = picture.region.height;
  std::copy_n(batch.scale, 3, p.scale);
  std::copy_n(batch.bias, 3, p.bias);
  std::copy_n(batch.pad, 3, p.pad);
  return p;
}

// Pictures begin..end-1.
template <typename T>
void preprocess_some(const PreprocessBatchParams& params, std::int64_t begin, std::int64_t end) {
  const std::int64_t size = std::int64_t{3} * params.dst_width * params.dst_height;
  thread_local std::vector<float> planes;
  planes.resize(static_cast<std::size_t>(size));
  for (std::int64_t i = begin; i < end; ++i) {
    PreprocessParams one = one_picture(params, params.pictures[i]);
    one.dst = planes.data();
    preprocess(one);
    T* const to = static_cast<T*>(params.dst) + i * size;
    for (std::int64_t j = 0; j < size; ++j) from_float(planes[static_cast<std::size_t>(j)], to + j);
  }
}

}  // namespace

Status preprocess_batch_host(const PreprocessBatchParams& params) {
  const Status checked = check_preprocess_batch(params);
  if (!checked.ok()) return checked;
  const auto run = [&params](std::int64_t begin, std::int64_t end) {
    try {
      if (params.type == DataType::kFloat16) {
        preprocess_some<Half>(params, begin, end);
      } else if (params.type == DataType::kBfloat16) {
        preprocess_some<Bfloat16>(params, begin, end);
      } else {
        preprocess_some<float>(params, begin, end);
      }
    } catch (const std::bad_alloc&) {
      return false;
    }
    return true;
  };
  if (for_ranges(params.count, params.threads, run)) return {};
  return {StatusCode::kLaunchFailed, "pictures: not enough memory for the scratch arrays"};
}

}  // namespace pvlr
