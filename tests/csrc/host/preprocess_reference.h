// Preprocessing as a naive double-precision loop, and random frames to compare it with, in buffers without spare bytes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "pvlr/preprocess.h"
#include "pvlr/yuv.h"

using pvlr::PixelFormat;
using pvlr::PreprocessParams;

// The weight of input pixel x in output i.
inline double triangle(std::int64_t x, std::int64_t i, double scale) {
  const double distance = std::abs((static_cast<double>(x) + 0.5) - (static_cast<double>(i) + 0.5) * scale);
  return std::max(0.0, 1.0 - distance / std::max(scale, 1.0));
}

inline std::vector<double> weights(std::int64_t size, std::int64_t i, std::int64_t new_size) {
  std::vector<double> result(static_cast<std::size_t>(size));
  double sum = 0;
  for (std::int64_t x = 0; x < size; ++x) {
    result[static_cast<std::size_t>(x)] = triangle(x, i, static_cast<double>(size) / static_cast<double>(new_size));
    sum += result[static_cast<std::size_t>(x)];
  }
  for (double& value : result) value /= sum;
  return result;
}

inline bool is_yuv(PixelFormat format) { return format == PixelFormat::kNv12 || format == PixelFormat::kI420; }

inline std::uint8_t rgb_at(const PreprocessParams& p, std::int64_t x, std::int64_t y, int c) {
  const std::uint8_t* row = p.src + y * p.src_row_stride;
  if (p.format == PixelFormat::kGray) return row[x * p.src_pixel_stride];
  if (is_yuv(p.format)) {
    const pvlr::ChromaPlanes& chroma = p.chroma;
    const std::int64_t column = (x + chroma.left) / 2 * chroma.pixel_stride;
    const std::int64_t chroma_row = (y + chroma.top) / 2;
    const int u = chroma.u[chroma_row * chroma.u_row_stride + column] - 128;
    const int v = chroma.v[chroma_row * chroma.v_row_stride + column] - 128;
    const pvlr::YuvCoefficients k = pvlr::yuv_coefficients(chroma.matrix, chroma.range);
    const int color = c == 0 ? k.red_v * v : c == 1 ? k.green_v * v + k.green_u * u : k.blue_u * u;
    const int light = k.luma * std::max(0, row[x * p.src_pixel_stride] - k.black);
    const double value = std::floor((light + color) / 1048576.0 + 0.5);
    return static_cast<std::uint8_t>(std::min(255.0, std::max(0.0, value)));
  }
  const bool blue_first = p.format == PixelFormat::kBgr || p.format == PixelFormat::kBgra;
  return row[x * p.src_pixel_stride + (blue_first ? 2 - c : c) * p.src_channel_stride];
}

// The largest difference from the naive computation.
inline double naive_difference(const PreprocessParams& p) {
  double worst = 0;
  for (int c = 0; c < 3; ++c) {
    for (std::int64_t y = 0; y < p.dst_height; ++y) {
      for (std::int64_t x = 0; x < p.dst_width; ++x) {
        double expected = p.normalisation.pad[c];
        const std::int64_t i = x - p.region.left;
        const std::int64_t j = y - p.region.top;
        if (i >= 0 && i < p.region.width && j >= 0 && j < p.region.height) {
          const std::vector<double> across = weights(p.src_width, i, p.region.width);
          const std::vector<double> down = weights(p.src_height, j, p.region.height);
          double sum = 0;
          for (std::int64_t b = 0; b < p.src_height; ++b) {
            for (std::int64_t a = 0; a < p.src_width; ++a) {
              sum += down[static_cast<std::size_t>(b)] * across[static_cast<std::size_t>(a)] * rgb_at(p, a, b, c);
            }
          }
          expected = sum * static_cast<double>(p.normalisation.scale[c]) + static_cast<double>(p.normalisation.bias[c]);
        }
        const std::int64_t pixel = y * p.dst_width + x;
        const float got = p.dst[p.channels_last ? 3 * pixel + c : c * p.dst_height * p.dst_width + pixel];
        worst = std::max(worst, std::isfinite(got) ? std::abs(static_cast<double>(got) - expected) : 1e9);
      }
    }
  }
  return worst;
}

struct Case {
  std::vector<std::uint8_t> pixels;
  std::vector<std::uint8_t> chroma[2];
  std::vector<float> output;
  PreprocessParams params{};
};

// Chroma planes that end with their last byte, too.
inline void fill_chroma(std::mt19937& random, Case& result) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<std::int64_t>(low, high)(random); };
  PreprocessParams& p = result.params;
  pvlr::ChromaPlanes& chroma = p.chroma;
  chroma.left = static_cast<std::int32_t>(pick(0, 1));
  chroma.top = static_cast<std::int32_t>(pick(0, 1));
  chroma.matrix = static_cast<pvlr::YuvMatrix>(pick(0, 1));
  chroma.range = static_cast<pvlr::YuvRange>(pick(0, 1));
  const std::int64_t columns = (chroma.left + p.src_width + 1) / 2;
  const std::int64_t rows = (chroma.top + p.src_height + 1) / 2;
  const bool interleaved = p.format == PixelFormat::kNv12;
  chroma.pixel_stride = interleaved ? 2 : 1;
  const std::int64_t row_bytes = columns * chroma.pixel_stride;
  chroma.u_row_stride = chroma.v_row_stride = row_bytes + pick(0, 3);
  for (int i = 0; i < (interleaved ? 1 : 2); ++i) {
    result.chroma[i].resize(static_cast<std::size_t>((rows - 1) * chroma.u_row_stride + row_bytes));
    for (std::uint8_t& value : result.chroma[i]) value = static_cast<std::uint8_t>(pick(0, 255));
  }
  chroma.u = result.chroma[0].data();
  chroma.v = interleaved ? chroma.u + 1 : result.chroma[1].data();
}

// A random frame in a buffer that ends with the frame's last byte, and a random place for it in the output.
inline Case random_case(std::mt19937& random) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<std::int64_t>(low, high)(random); };
  const auto pick32 = [&](int low, int high) { return static_cast<std::int32_t>(pick(low, high)); };
  Case result;
  PreprocessParams& p = result.params;
  p.format = static_cast<PixelFormat>(pick(0, 6));
  p.src_width = pick(1, 40);
  p.src_height = pick(1, 20);
  const bool flat = is_yuv(p.format) || p.format == PixelFormat::kGray;
  const bool alpha = p.format == PixelFormat::kRgba || p.format == PixelFormat::kBgra;
  const std::int64_t channels = flat ? 1 : (alpha ? 4 : 3);
  std::int64_t channel_stride = flat ? 0 : pick(1, 2);
  std::int64_t pixel_stride = flat ? pick(1, 2) : channels * channel_stride + pick(0, 1);
  std::int64_t row_stride = (p.src_width - 1) * pixel_stride + (channels - 1) * channel_stride + 1 + pick(0, 3);
  result.pixels.resize(static_cast<std::size_t>((p.src_height - 1) * row_stride + (p.src_width - 1) * pixel_stride +
                                                (channels - 1) * channel_stride + 1));
  for (std::uint8_t& value : result.pixels) value = static_cast<std::uint8_t>(pick(0, 255));

  p.src = result.pixels.data();
  const auto maybe_flip = [&](std::int64_t& stride, std::int64_t size) {
    if (pick(0, 1) == 0) return;
    p.src += (size - 1) * stride;
    stride = -stride;
  };
  maybe_flip(channel_stride, channels);
  maybe_flip(pixel_stride, p.src_width);
  maybe_flip(row_stride, p.src_height);
  p.src_channel_stride = channel_stride;
  p.src_pixel_stride = pixel_stride;
  p.src_row_stride = row_stride;
  if (is_yuv(p.format)) fill_chroma(random, result);

  p.region.left = pick32(0, 3);
  p.region.top = pick32(0, 3);
  p.region.width = pick32(1, 12);
  p.region.height = pick32(1, 12);
  p.dst_width = p.region.left + p.region.width + pick(0, 3);
  p.dst_height = p.region.top + p.region.height + pick(0, 3);
  result.output.assign(static_cast<std::size_t>(3 * p.dst_width * p.dst_height), NAN);
  p.dst = result.output.data();
  p.channels_last = pick(0, 1) == 1;
  for (int c = 0; c < 3; ++c) {
    p.normalisation.scale[c] = 0.5F + static_cast<float>(c);
    p.normalisation.bias[c] = -10.0F * static_cast<float>(c);
    p.normalisation.pad[c] = 7.0F + static_cast<float>(c);
  }
  return result;
}
