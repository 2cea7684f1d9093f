// Compares the core with a naive double-precision loop on buffers without a spare byte, counts allocations, and checks
// that nonsense is refused. Meant to be built with -fsanitize=address,undefined; tests/pvlr_sdk/test_core.py does.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "host/passes.h"
#include "pvlr/preprocess.h"
#include "pvlr/yuv.h"

namespace {
std::atomic<int> allocations{0};
}

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using pvlr::PixelFormat;
using pvlr::PreprocessParams;

int failures = 0;

void expect(bool condition, const char* what, double value = 0) {
  if (condition) return;
  ++failures;
  std::printf("FAILED: %s (%g)\n", what, value);
}

// The weight of input pixel x in output i.
double triangle(std::int64_t x, std::int64_t i, double scale) {
  const double distance = std::abs((static_cast<double>(x) + 0.5) - (static_cast<double>(i) + 0.5) * scale);
  return std::max(0.0, 1.0 - distance / std::max(scale, 1.0));
}

std::vector<double> weights(std::int64_t size, std::int64_t i, std::int64_t new_size) {
  std::vector<double> result(static_cast<std::size_t>(size));
  double sum = 0;
  for (std::int64_t x = 0; x < size; ++x) {
    result[static_cast<std::size_t>(x)] = triangle(x, i, static_cast<double>(size) / static_cast<double>(new_size));
    sum += result[static_cast<std::size_t>(x)];
  }
  for (double& value : result) value /= sum;
  return result;
}

bool is_yuv(PixelFormat format) { return format == PixelFormat::kNv12 || format == PixelFormat::kI420; }

std::uint8_t rgb_at(const PreprocessParams& p, std::int64_t x, std::int64_t y, int c) {
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
double naive_difference(const PreprocessParams& p) {
  double worst = 0;
  for (int c = 0; c < 3; ++c) {
    for (std::int64_t y = 0; y < p.dst_height; ++y) {
      for (std::int64_t x = 0; x < p.dst_width; ++x) {
        double expected = p.pad[c];
        const std::int64_t i = x - p.region_left;
        const std::int64_t j = y - p.region_top;
        if (i >= 0 && i < p.region_width && j >= 0 && j < p.region_height) {
          const std::vector<double> across = weights(p.src_width, i, p.region_width);
          const std::vector<double> down = weights(p.src_height, j, p.region_height);
          double sum = 0;
          for (std::int64_t b = 0; b < p.src_height; ++b) {
            for (std::int64_t a = 0; a < p.src_width; ++a) {
              sum += down[static_cast<std::size_t>(b)] * across[static_cast<std::size_t>(a)] * rgb_at(p, a, b, c);
            }
          }
          expected = sum * static_cast<double>(p.scale[c]) + static_cast<double>(p.bias[c]);
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
void fill_chroma(std::mt19937& random, Case& result) {
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
Case random_case(std::mt19937& random) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<std::int64_t>(low, high)(random); };
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

  p.region_left = pick(0, 3);
  p.region_top = pick(0, 3);
  p.region_width = pick(1, 12);
  p.region_height = pick(1, 12);
  p.dst_width = p.region_left + p.region_width + pick(0, 3);
  p.dst_height = p.region_top + p.region_height + pick(0, 3);
  result.output.assign(static_cast<std::size_t>(3 * p.dst_width * p.dst_height), NAN);
  p.dst = result.output.data();
  p.channels_last = pick(0, 1) == 1;
  for (int c = 0; c < 3; ++c) {
    p.scale[c] = 0.5F + static_cast<float>(c);
    p.bias[c] = -10.0F * static_cast<float>(c);
    p.pad[c] = 7.0F + static_cast<float>(c);
  }
  return result;
}

void test_random_frames() {
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    const Case one = random_case(random);
    pvlr::preprocess(one.params);
    const double difference = naive_difference(one.params);
    expect(difference < 2e-3, "a random frame differs from the naive loop", difference);
  }
}

void test_every_instruction_set() {
  std::mt19937 random(2);
  const std::int64_t width = 203;
  const std::int64_t outputs = 37;
  pvlr::AxisFilter filter;
  filter.prepare(width, outputs);
  for (const pvlr::Passes& passes : pvlr::supported_passes()) {
    std::printf("instruction set: %s\n", passes.name);
    for (const std::int64_t channels : {1, 3, 4}) {
      const std::int64_t bytes = width * channels;
      std::vector<std::uint8_t> rows[2];
      for (auto& row : rows) {
        row.resize(static_cast<std::size_t>(bytes));
        for (std::uint8_t& value : row) value = static_cast<std::uint8_t>(random() & 255);
      }
      const std::uint8_t* pointers[2] = {rows[0].data(), rows[1].data()};
      const float down[2] = {0.25F, 0.75F};
      std::vector<float> line(static_cast<std::size_t>(bytes + 4), NAN);
      passes.vertical(pointers, down, 2, bytes, line.data());
      std::vector<float> planes[3];
      float* plane_pointers[3];
      for (int c = 0; c < 3; ++c) {
        planes[c].resize(static_cast<std::size_t>(outputs));
        plane_pointers[c] = planes[c].data();
      }
      const float scale[3] = {1.0F, 2.0F, 3.0F};
      const float bias[3] = {0.0F, 1.0F, -1.0F};
      const pvlr::HorizontalPass horizontal = channels == 1   ? passes.horizontal_1
                                              : channels == 3 ? passes.horizontal_3
                                                              : passes.horizontal_4;
      horizontal(line.data(), filter, scale, bias, plane_pointers, 1);
      for (const bool reversed : {false, true}) {  // packed pixels: the same bits, and not one float more
        std::vector<float> packed(static_cast<std::size_t>(3 * outputs + 1), -1.0F);
        float* pointers_into[3];
        for (int c = 0; c < 3; ++c) pointers_into[c] = packed.data() + (reversed ? 2 - c : c);
        horizontal(line.data(), filter, scale, bias, pointers_into, 3);
        bool same = packed.back() == -1.0F;
        for (std::size_t i = 0; i < static_cast<std::size_t>(outputs); ++i) {
          for (std::size_t c = 0; c < 3; ++c) same = same && packed[3 * i + (reversed ? 2 - c : c)] == planes[c][i];
        }
        expect(same, passes.name, reversed);
      }
      for (std::int64_t i = 0; i < outputs; ++i) {
        const std::vector<double> across = weights(width, i, outputs);
        for (int c = 0; c < 3; ++c) {
          double sum = 0;
          for (std::int64_t x = 0; x < width; ++x) {
            const auto byte = static_cast<std::size_t>(x * channels + (channels == 1 ? 0 : c));
            sum += across[static_cast<std::size_t>(x)] * (0.25 * rows[0][byte] + 0.75 * rows[1][byte]);
          }
          const double expected = sum * static_cast<double>(scale[c]) + static_cast<double>(bias[c]);
          const double difference = std::abs(expected - static_cast<double>(planes[c][static_cast<std::size_t>(i)]));
          expect(difference < 1e-3, passes.name, difference);
        }
      }
    }
  }
}

void test_no_allocation_after_first_call() {
  std::mt19937 random(3);
  for (int i = 0; i < 30; ++i) {
    const Case one = random_case(random);
    pvlr::preprocess(one.params);
    const int before = allocations;
    pvlr::preprocess(one.params);
    expect(allocations == before, "the second call with the same sizes allocated", allocations - before);
  }
}

void test_threads() {
  std::mt19937 random(4);
  std::vector<Case> cases;
  for (int i = 0; i < 20; ++i) cases.push_back(random_case(random));
  std::vector<std::vector<float>> expected;
  for (Case& one : cases) {
    pvlr::preprocess(one.params);
    expected.push_back(one.output);
  }
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        for (std::size_t i = 0; i < cases.size(); ++i) {
          PreprocessParams mine = cases[i].params;
          std::vector<float> output(cases[i].output.size(), NAN);
          mine.dst = output.data();
          pvlr::preprocess(mine);
          if (std::memcmp(output.data(), expected[i].data(), output.size() * sizeof(float)) != 0) ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect(wrong == 0, "threads disagree with one thread", wrong);
}

template <class Change>
void expect_refused(const char* field, Change change) {
  std::mt19937 random(5);
  Case one = random_case(random);
  change(one.params);
  try {
    pvlr::preprocess(one.params);
    expect(false, field);
  } catch (const std::invalid_argument& error) {
    expect(std::strstr(error.what(), field) != nullptr, error.what());
  }
}

void test_nonsense_is_refused() {
  expect_refused("src", [](PreprocessParams& p) { p.src = nullptr; });
  expect_refused("dst", [](PreprocessParams& p) { p.dst = nullptr; });
  expect_refused("src_width", [](PreprocessParams& p) { p.src_width = 0; });
  expect_refused("src_height", [](PreprocessParams& p) { p.src_height = -4; });
  expect_refused("dst_width", [](PreprocessParams& p) { p.dst_width = std::int64_t{1} << 40; });
  expect_refused("format", [](PreprocessParams& p) { p.format = static_cast<PixelFormat>(17); });
  expect_refused("region_left", [](PreprocessParams& p) { p.region_left = -1; });
  expect_refused("region_width", [](PreprocessParams& p) { p.region_width = p.dst_width + 1; });
  expect_refused("region_height", [](PreprocessParams& p) { p.region_height = INT64_MAX; });
  expect_refused("scale", [](PreprocessParams& p) { p.scale[1] = NAN; });
  expect_refused("chroma.u", [](PreprocessParams& p) {
    p.format = PixelFormat::kNv12;
    p.chroma = {};
  });
}

}  // namespace

int main() {
  test_random_frames();
  test_every_instruction_set();
  test_no_allocation_after_first_call();
  test_threads();
  test_nonsense_is_refused();
  std::printf(failures == 0 ? "ok\n" : "%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
