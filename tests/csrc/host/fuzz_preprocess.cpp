// A fuzz target for frames: any description of a frame or of a batch is refused, or read and written within its
// buffers, which have no spare bytes. test_core.py builds it with -fsanitize=address,undefined. Options as libFuzzer's:
//   fuzz_preprocess -seed=0 -runs=1000000 -max_total_time=600        (seed 0: another one each time)
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "preprocess_reference.h"

namespace {

std::mt19937 random_bits;

std::int64_t pick(std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random_bits);
}

bool one_in(int count) { return pick(1, count) == 1; }

// A number near a limit, or any.
std::int32_t any_number() {
  constexpr std::int32_t kLimits[] = {INT32_MIN, -1, 0, 1, 2, 16384, 16385, 1 << 20, (1 << 20) + 1, 1 << 30, INT32_MAX};
  if (one_in(4)) return static_cast<std::int32_t>(pick(INT32_MIN, INT32_MAX));
  return kLimits[pick(0, std::size(kLimits) - 1)];
}

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

pvlr::Rectangle rectangle_within(std::int32_t width, std::int32_t height) {
  pvlr::Rectangle r{};
  r.left = static_cast<std::int32_t>(pick(0, width - 1));
  r.top = static_cast<std::int32_t>(pick(0, height - 1));
  r.width = static_cast<std::int32_t>(pick(1, width - r.left));
  r.height = static_cast<std::int32_t>(pick(1, height - r.top));
  std::int32_t* const fields[] = {&r.left, &r.top, &r.width, &r.height};
  if (one_in(4)) *fields[pick(0, 3)] = one_in(2) ? any_number() : static_cast<std::int32_t>(pick(-3, 60));
  return r;
}

// A frame that may be invalid.
Case any_case() {
  Case one = random_case(random_bits);
  BatchFrame& f = one.frame;
  if (one_in(3)) f.crop = rectangle_within(f.width, f.height);
  if (one_in(3)) f.region = rectangle_within(one.params.dst_width, one.params.dst_height);
  const int plane = static_cast<int>(pick(0, pvlr::plane_count(f.format) - 1));
  // All shorter ones are within the buffer where the plane starts at its beginning.
  if (one_in(20)) f.pitches[plane] = f.pitches[plane] > 0 ? pick(0, f.pitches[plane] - 1) : INT64_MIN;
  if (one_in(40)) f.planes[plane] = nullptr;
  if (one_in(20)) f.width = static_cast<std::int32_t>(one_in(2) ? pick(1, f.width) : -pick(0, INT32_MAX));
  if (one_in(20)) f.height = static_cast<std::int32_t>(one_in(2) ? pick(1, f.height) : pick((1 << 20) + 1, INT32_MAX));
  if (one_in(40)) f.format = static_cast<PixelFormat>(one_in(2) ? pick(7, 255) : -pick(1, 255));
  return one;
}

// Returns whether it was accepted.
bool frame() {
  Case one = any_case();
  if (one_in(16)) one.params.dst = nullptr;
  if (one_in(16)) one.params.normalisation.scale[pick(0, 2)] = one_in(2) ? NAN : INFINITY;
  const bool ok = one.run().ok();
  if (ok) {
    for (const float value : one.values) expect(std::isfinite(value), "a frame left a value unwritten");
    if (one_in(200)) expect(naive_difference(one.frame, one.params) < 2e-3, "a frame differs from the naive loop");
  }
  return ok;
}

// Returns whether the batch was accepted.
bool batch() {
  std::vector<Case> cases;
  for (std::int64_t i = pick(1, 3); i > 0; --i) cases.push_back(any_case());
  pvlr::PreprocessBatchParams p{};
  p.dst_width = static_cast<std::int32_t>(pick(1, 20));
  p.dst_height = static_cast<std::int32_t>(pick(1, 20));
  std::vector<BatchFrame> frames;
  for (const Case& one : cases) {
    frames.push_back(one.frame);
    frames.back().region = rectangle_within(p.dst_width, p.dst_height);
  }
  p.frames = frames.data();
  p.count = static_cast<std::int64_t>(frames.size());
  if (one_in(40)) p.count = one_in(2) ? 0 : -pick(1, INT64_MAX);
  p.type = static_cast<pvlr::DataType>(pick(0, 2));
  const std::int64_t item = p.type == pvlr::DataType::kFloat32 ? 4 : 2;
  std::vector<std::uint8_t> output(
      static_cast<std::size_t>(static_cast<std::int64_t>(frames.size()) * 3 * p.dst_width * p.dst_height * item));
  p.dst = output.data();
  p.threads = one_in(50) ? 2 : one_in(50) ? pick(-1, 0) : 1;
  for (int c = 0; c < 3; ++c) p.normalisation.scale[c] = 1;
  return pvlr::preprocess_batch_host(p).ok();
}

std::int64_t option(int count, char** arguments, const char* name, std::int64_t otherwise) {
  for (int i = 1; i < count; ++i) {
    if (std::strncmp(arguments[i], name, std::strlen(name)) == 0) return std::atoll(arguments[i] + std::strlen(name));
  }
  return otherwise;
}

}  // namespace

int main(int count, char** arguments) {
  std::int64_t seed = option(count, arguments, "-seed=", 1);
  if (seed == 0) seed = std::random_device{}();
  const std::int64_t runs = option(count, arguments, "-runs=", -1);
  const std::int64_t seconds = option(count, arguments, "-max_total_time=", 0);
  random_bits.seed(static_cast<std::mt19937::result_type>(seed));
  std::fprintf(stderr, "Seed: %lld\n", static_cast<long long>(seed));
  const auto began = std::chrono::steady_clock::now();
  std::int64_t done = 0;
  std::int64_t accepted = 0;
  for (; done != runs; ++done) {
    if (seconds > 0 && std::chrono::steady_clock::now() - began > std::chrono::seconds(seconds)) break;
    accepted += one_in(2) ? frame() : batch();
  }
  std::fprintf(stderr, "DONE: %lld inputs, %lld accepted\n", static_cast<long long>(done),
               static_cast<long long>(accepted));
  return 0;
}
