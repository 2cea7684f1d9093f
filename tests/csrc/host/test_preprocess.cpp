// Compares preprocessing with a naive double-precision loop on buffers without spare bytes, counts allocations, and
// checks that invalid params are refused. test_core.py builds it with -fsanitize=address,undefined.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "host/preprocess/passes.h"
#include "preprocess_reference.h"
#include "pvlr/preprocess.h"

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

int failures = 0;

void expect(bool condition, const char* what, double value = 0) {
  if (condition) return;
  ++failures;
  std::printf("FAILED: %s (%g)\n", what, value);
}

void run(const Case& one) {
  const pvlr::Status status = one.run();
  expect(status.ok(), status.message);
}

void test_random_frames() {
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    const Case one = random_case(random);
    run(one);
    const double difference = naive_difference(one.frame, one.params);
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
    run(one);
    const int before = allocations;
    run(one);
    expect(allocations == before, "the second call with the same sizes allocated", allocations - before);
  }
}

void test_threads() {
  std::mt19937 random(4);
  std::vector<Case> cases;
  for (int i = 0; i < 20; ++i) cases.push_back(random_case(random));
  std::vector<std::vector<float>> expected;
  for (Case& one : cases) {
    run(one);
    expected.push_back(one.values);
  }
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        for (std::size_t i = 0; i < cases.size(); ++i) {
          PreprocessBatchParams mine = cases[i].params;
          std::vector<float> values(cases[i].values.size(), NAN);
          mine.dst = values.data();
          if (!cases[i].run(mine).ok()) ++wrong;
          if (std::memcmp(values.data(), expected[i].data(), values.size() * sizeof(float)) != 0) ++wrong;
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
  change(one.frame, one.params);
  const pvlr::Status status = one.run();
  expect(status.code == pvlr::StatusCode::kInvalidArgument, field);
  expect(std::strstr(status.message, field) == status.message, status.message);
}

// What only the CPU takes; tests/csrc/kernels/preprocess/test_launcher.cpp has the rest.
void test_nonsense_is_refused() {
  expect_refused("height", [](BatchFrame& f, PreprocessBatchParams&) { f.height = (1 << 20) + 1; });
  expect_refused("dst_width", [](BatchFrame&, PreprocessBatchParams& p) { p.dst_width = INT32_MAX; });
  expect_refused("dst_height", [](BatchFrame&, PreprocessBatchParams& p) { p.dst_height = 0; });
  expect_refused("channels_last", [](BatchFrame&, PreprocessBatchParams& p) {
    p.channels_last = true;
    p.type = pvlr::DataType::kFloat16;
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
