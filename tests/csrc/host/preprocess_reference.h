// Preprocessing as a naive double-precision loop, and random frames to compare it with, in buffers without spare bytes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "host/preprocess/formats.h"
#include "pvlr/preprocess.h"
#include "pvlr/yuv.h"

using pvlr::BatchFrame;
using pvlr::PixelFormat;
using pvlr::PreprocessBatchParams;

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

// Channel c of the pixel in column x and row y of the frame.
inline std::uint8_t rgb_at(const BatchFrame& f, std::int64_t x, std::int64_t y, int c) {
  const std::uint8_t* row = f.planes[0] + y * f.pitches[0];
  if (f.format == PixelFormat::kGray) return row[x];
  if (pvlr::is_yuv(f.format)) {
    const bool interleaved = f.format == PixelFormat::kNv12;
    const auto chroma = [&](int plane, std::int64_t column) {
      return f.planes[plane][y / 2 * f.pitches[plane] + column] - 128;
    };
    const int u = chroma(1, interleaved ? x / 2 * 2 : x / 2);
    const int v = interleaved ? chroma(1, x / 2 * 2 + 1) : chroma(2, x / 2);
    const pvlr::YuvCoefficients k = pvlr::yuv_coefficients(f.matrix, f.range);
    const int color = c == 0 ? k.red_v * v : c == 1 ? k.green_v * v + k.green_u * u : k.blue_u * u;
    const int light = k.luma * std::max(0, row[x] - k.black);
    const double value = std::floor((light + color) / 1048576.0 + 0.5);
    return static_cast<std::uint8_t>(std::min(255.0, std::max(0.0, value)));
  }
  const bool blue_first = f.format == PixelFormat::kBgr || f.format == PixelFormat::kBgra;
  return row[x * pvlr::packed_bytes(f.format) + (blue_first ? 2 - c : c)];
}

// The largest difference from the naive computation.
inline double naive_difference(const BatchFrame& f, const PreprocessBatchParams& o) {
  const auto* const values = static_cast<const float*>(o.dst);
  double worst = 0;
  for (int c = 0; c < 3; ++c) {
    for (std::int64_t y = 0; y < o.dst_height; ++y) {
      for (std::int64_t x = 0; x < o.dst_width; ++x) {
        double expected = o.normalisation.pad[c];
        const std::int64_t i = x - f.region.left;
        const std::int64_t j = y - f.region.top;
        if (i >= 0 && i < f.region.width && j >= 0 && j < f.region.height) {
          const std::vector<double> across = weights(f.crop.width, i, f.region.width);
          const std::vector<double> down = weights(f.crop.height, j, f.region.height);
          double sum = 0;
          for (std::int64_t b = 0; b < f.crop.height; ++b) {
            for (std::int64_t a = 0; a < f.crop.width; ++a) {
              sum += down[static_cast<std::size_t>(b)] * across[static_cast<std::size_t>(a)] *
                     rgb_at(f, f.crop.left + a, f.crop.top + b, c);
            }
          }
          expected = sum * static_cast<double>(o.normalisation.scale[c]) + static_cast<double>(o.normalisation.bias[c]);
        }
        const std::int64_t pixel = y * o.dst_width + x;
        const float got =
            values[o.channels_last ? 3 * pixel + c : std::int64_t{c} * o.dst_height * o.dst_width + pixel];
        worst = std::max(worst, std::isfinite(got) ? std::abs(static_cast<double>(got) - expected) : 1e9);
      }
    }
  }
  return worst;
}

// A frame, each plane in a buffer that ends with the plane's last byte, and a random place for it in the output.
struct Case {
  std::vector<std::uint8_t> pixels[3];
  std::vector<float> values;
  BatchFrame frame{};
  PreprocessBatchParams params{};  // without the frame

  pvlr::Status run() const { return run(params); }
  pvlr::Status run(PreprocessBatchParams with) const {
    with.frames = &frame;
    with.count = 1;
    return pvlr::preprocess_batch_host(with);
  }
};

inline Case random_case(std::mt19937& random) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<std::int32_t>(low, high)(random); };
  Case result;
  BatchFrame& f = result.frame;
  f.format = static_cast<PixelFormat>(pick(0, 6));
  f.width = pick(1, 40);
  f.height = pick(1, 20);
  f.matrix = static_cast<pvlr::YuvMatrix>(pick(0, 1));
  f.range = static_cast<pvlr::YuvRange>(pick(0, 1));
  f.crop.left = pick(0, f.width - 1) * pick(0, 1);
  f.crop.top = pick(0, f.height - 1) * pick(0, 1);
  f.crop.width = pick(1, f.width - f.crop.left);
  f.crop.height = pick(1, f.height - f.crop.top);
  for (int i = 0; i < pvlr::plane_count(f.format); ++i) {
    const std::int64_t row = pvlr::row_bytes(f.format, f.width, i);
    const std::int64_t rows = i == 0 ? f.height : (f.height + 1) / 2;
    f.pitches[i] = row + pick(0, 3);
    std::vector<std::uint8_t>& pixels = result.pixels[i];
    pixels.resize(static_cast<std::size_t>((rows - 1) * f.pitches[i] + row));
    for (std::uint8_t& value : pixels) value = static_cast<std::uint8_t>(pick(0, 255));
    f.planes[i] = pixels.data();
    if (pick(0, 2) == 0) {  // bottom up
      f.planes[i] += (rows - 1) * f.pitches[i];
      f.pitches[i] = -f.pitches[i];
    }
  }

  PreprocessBatchParams& o = result.params;
  f.region = {pick(0, 3), pick(0, 3), pick(1, 12), pick(1, 12)};
  o.dst_width = f.region.left + f.region.width + pick(0, 3);
  o.dst_height = f.region.top + f.region.height + pick(0, 3);
  result.values.assign(static_cast<std::size_t>(3 * o.dst_width * o.dst_height), NAN);
  o.dst = result.values.data();
  o.channels_last = pick(0, 1) == 1;
  for (int c = 0; c < 3; ++c) {
    o.normalisation.scale[c] = 0.5F + static_cast<float>(c);
    o.normalisation.bias[c] = -10.0F * static_cast<float>(c);
    o.normalisation.pad[c] = 7.0F + static_cast<float>(c);
  }
  return result;
}
