// 32 threads on one handle, beside a second handle that is opened and closed: races PLAN ROUNDS. test_races.py builds
// it with ThreadSanitizer. Results are those of a single thread, and errors those of the thread that gets them.
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pvlr/pvlr.hpp"

extern "C" std::size_t __sanitizer_get_current_allocated_bytes();

namespace {

constexpr int kThreads = 32;

struct Example {
  std::vector<unsigned char> pixels;
  pvlr_frame frame{};
  pvlr_status submitted = PVLR_OK;
  pvlr_status waited = PVLR_OK;
  std::vector<float> scores;
  std::vector<float> map;  // of label 1
};

// Counted relaxed, as all that the threads share here: what orders their accesses would hide races.
std::atomic<int> frames{0};
std::atomic<int> errors{0};
std::atomic<int> wrong{0};

void count(std::atomic<int>* counter) { counter->fetch_add(1, std::memory_order_relaxed); }

void expect(bool condition, const char* what) {
  if (condition) return;
  count(&wrong);
  std::fprintf(stderr, "wrong: %s; the last error is '%s'\n", what, pvlr_last_error());
}

void expect_error(pvlr_status got, pvlr_status code, const std::string& begin) {
  count(&errors);
  expect(got == code && std::strncmp(pvlr_last_error(), begin.c_str(), begin.size()) == 0, begin.c_str());
}

Example noise(unsigned seed, pvlr_format format, int width, int height) {
  std::mt19937 random(seed);
  Example example;
  example.pixels.resize(static_cast<std::size_t>(4 * width * height));
  for (unsigned char& pixel : example.pixels) pixel = static_cast<unsigned char>(random());
  example.frame = pvlr::packed_frame(format, width, height, example.pixels.data());
  for (int i = 0; i < 3; ++i) {  // the planes of YUV overlap, which does no harm
    example.frame.planes[i] = example.pixels.data();
    if (format >= PVLR_FORMAT_NV12) example.frame.pitches[i] = width + 1;
  }
  return example;
}

// Of the colour with which the inference fails; see engine.cpp.
Example failing(unsigned char red, pvlr_status submitted, pvlr_status waited) {
  Example example;
  example.submitted = submitted;
  example.waited = waited;
  for (int i = 0; i < 64 * 48; ++i) example.pixels.insert(example.pixels.end(), {red, 255, 0});
  example.frame = pvlr::packed_frame(PVLR_FORMAT_RGB, 64, 48, example.pixels.data());
  return example;
}

std::vector<Example> make_examples() {
  std::vector<Example> examples;
  examples.push_back(noise(1, PVLR_FORMAT_BGR, 31, 200));
  examples.push_back(noise(2, PVLR_FORMAT_RGBA, 88, 30));
  examples.push_back(noise(3, PVLR_FORMAT_NV12, 145, 77));
  examples.push_back(noise(4, PVLR_FORMAT_GRAY, 1, 9));
  examples.push_back(noise(5, PVLR_FORMAT_I420, 202, 11));
  examples.push_back(failing(10, PVLR_ERROR_RUNTIME, PVLR_ERROR_RUNTIME));
  examples.push_back(failing(20, PVLR_OK, PVLR_ERROR_RUNTIME));
  examples.push_back(failing(30, PVLR_OK, PVLR_ERROR_NON_FINITE));
  return examples;
}

// Waits for a job, compares it with what one thread computed, and releases it.
void check(pvlr_job* job, const Example& example, const pvlr_info& info) {
  auto result = pvlr::make<pvlr_result>();
  std::vector<float> map(static_cast<std::size_t>(info.map_rows * info.map_columns));
  pvlr_status status = pvlr_wait_for(job, 0, &result);
  if (status == PVLR_ERROR_TIMEOUT) status = pvlr_wait(job, &result);
  expect(status == example.waited, "the status of pvlr_wait");
  expect(pvlr_map(job, 1, map.data(), map.size()) == status, "the status of pvlr_map");
  if (status == PVLR_OK && !example.scores.empty()) {
    expect(std::vector<float>(result.scores, result.scores + result.label_count) == example.scores, "the scores");
    expect(map == example.map, "the map");
  }
  count(status == PVLR_OK ? &frames : &errors);
  pvlr_release(job);
}

pvlr_job* submit(pvlr_tagger* tagger, const Example& example) {
  pvlr_job* job = nullptr;
  const pvlr_status status = pvlr_submit(tagger, &example.frame, &job);
  expect(status == example.submitted && (job != nullptr) == (status == PVLR_OK), "the status of pvlr_submit");
  if (status != PVLR_OK) count(&errors);
  return job;
}

void run_thread(pvlr_tagger* tagger, const std::vector<Example>& examples, int thread, int rounds) {
  auto info = pvlr::make<pvlr_info>();
  std::mt19937 random(static_cast<unsigned>(thread));
  const auto any = [&]() -> const Example& { return examples[random() % examples.size()]; };
  for (int i = 0; i < rounds; ++i) {
    expect(pvlr_get_info(tagger, &info) == PVLR_OK, "pvlr_get_info");
    const Example& first = any();
    const Example& second = any();
    pvlr_job* const one = submit(tagger, first);  // two in flight
    pvlr_job* const two = submit(tagger, second);
    pvlr_release(submit(tagger, any()));  // without a wait
    if (two != nullptr) check(two, second, info);
    if (one != nullptr) check(one, first, info);

    pvlr_job* none = nullptr;
    pvlr_frame bad = examples[0].frame;
    bad.width = -thread - 1;
    expect_error(pvlr_submit(tagger, &bad, &none), PVLR_ERROR_INVALID_ARGUMENT,
                 "frame.width: expected 1 to 16384 pixels, got -" + std::to_string(thread + 1));
    pvlr_tagger* missing = nullptr;
    const std::string name = "missing" + std::to_string(thread);
    expect_error(pvlr_open(name.c_str(), nullptr, &missing), PVLR_ERROR_NOT_FOUND, name + ": ");
  }
}

// Opens and closes another handle until the others have ended; its last job outlives it.
int open_and_close(const char* plan, const std::vector<Example>& examples, const std::atomic<int>& running) {
  auto info = pvlr::make<pvlr_info>();
  int openings = 0;
  do {
    pvlr_tagger* tagger = nullptr;
    expect(pvlr_open(plan, nullptr, &tagger) == PVLR_OK, "pvlr_open");
    expect(pvlr_get_info(tagger, &info) == PVLR_OK, "pvlr_get_info");
    pvlr_job* const first = submit(tagger, examples[0]);
    check(submit(tagger, examples[1]), examples[1], info);
    pvlr_close(tagger);
    check(first, examples[0], info);
    ++openings;
  } while (running.load(std::memory_order_relaxed) > 0);
  return openings;
}

// What `count` failed inferences leave allocated.
std::size_t left_by_failures(pvlr_tagger* tagger, const Example& example, int count) {
  auto result = pvlr::make<pvlr_result>();
  const std::size_t before = __sanitizer_get_current_allocated_bytes();
  for (int i = 0; i < count; ++i) {
    pvlr_job* const job = submit(tagger, example);
    expect(pvlr_wait(job, &result) == example.waited, "the status of pvlr_wait");
    pvlr_release(job);
  }
  return __sanitizer_get_current_allocated_bytes() - before;
}

}  // namespace

int main(int, char** argv) {
  std::vector<Example> examples = make_examples();
  auto info = pvlr::make<pvlr_info>();
  pvlr_tagger* tagger = nullptr;
  pvlr::check(pvlr_open(argv[1], nullptr, &tagger));
  pvlr::check(pvlr_get_info(tagger, &info));
  for (Example& example : examples) {
    if (example.waited != PVLR_OK) continue;
    auto result = pvlr::make<pvlr_result>();
    pvlr_job* const job = submit(tagger, example);
    pvlr::check(pvlr_wait(job, &result));
    example.scores.assign(result.scores, result.scores + result.label_count);
    example.map.resize(static_cast<std::size_t>(info.map_rows * info.map_columns));
    pvlr::check(pvlr_map(job, 1, example.map.data(), example.map.size()));
    pvlr_release(job);
  }

  std::vector<std::thread> threads;
  std::atomic<int> running{kThreads};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      run_thread(tagger, examples, t, std::atoi(argv[2]));
      running.fetch_sub(1, std::memory_order_relaxed);
    });
  }
  const int openings = open_and_close(argv[1], examples, running);
  for (std::thread& thread : threads) thread.join();

  left_by_failures(tagger, examples[6], 100);
  const std::size_t left = left_by_failures(tagger, examples[6], 1000);
  pvlr_job* const late = submit(tagger, examples[0]);
  pvlr_close(tagger);
  std::thread([&] { check(late, examples[0], info); }).join();
  std::printf("%d frames, %d errors, %d openings, %zu bytes left, %d wrong\n", frames.load(), errors.load(), openings,
              left, wrong.load());
  return wrong == 0 ? 0 : 1;
}
