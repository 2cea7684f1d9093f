// Threads that share a tagger get the results of a single one: many_threads PLAN. Jobs also outlive the tagger.
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "pvlr/pvlr.hpp"

namespace {

constexpr int kThreads = 8;
constexpr int kRounds = 6;
constexpr int kFrames = 5;

std::vector<unsigned char> noise(int index, std::size_t bytes) {
  std::mt19937 random(static_cast<unsigned>(index));
  std::vector<unsigned char> pixels(bytes);
  for (unsigned char& pixel : pixels) pixel = static_cast<unsigned char>(random());
  return pixels;
}

std::vector<float> scores_of(pvlr::Job& job) {
  const pvlr_result result = job.wait();
  return {result.scores, result.scores + result.label_count};
}

}  // namespace

int main(int, char** argv) {
  std::vector<std::vector<unsigned char>> pixels;
  std::vector<pvlr_frame> frames;
  std::vector<std::vector<float>> expected;
  auto tagger = std::make_unique<pvlr::Tagger>(argv[1]);
  for (int i = 0; i < kFrames; ++i) {
    const int width = 31 + 57 * i;
    const int height = 200 - 37 * i;
    pixels.push_back(noise(i, static_cast<std::size_t>(3 * width * height)));
    frames.push_back(pvlr::packed_frame(PVLR_FORMAT_RGB, width, height, pixels.back().data()));
    pvlr::Job job = tagger->submit(frames.back());
    expected.push_back(scores_of(job));
  }

  std::vector<int> wrong(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        const auto a = static_cast<std::size_t>((t + i) % kFrames);
        const auto b = static_cast<std::size_t>((t + 2 * i + 1) % kFrames);
        pvlr::Job first = tagger->submit(frames[a]);  // two in flight
        pvlr::Job second = tagger->submit(frames[b]);
        wrong[static_cast<std::size_t>(t)] += scores_of(second) != expected[b];
        wrong[static_cast<std::size_t>(t)] += scores_of(first) != expected[a];
        pvlr::Job unused = tagger->submit(frames[a]);  // released without a wait
        // Messages belong to a thread.
        pvlr_tagger* none = nullptr;
        const std::string name = "missing" + std::to_string(t);
        pvlr_open(name.c_str(), nullptr, &none);
        wrong[static_cast<std::size_t>(t)] += std::strncmp(pvlr_last_error(), name.c_str(), name.size()) != 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int total = 0;
  for (const int count : wrong) total += count;

  pvlr::Job late = tagger->submit(frames[0]);
  tagger.reset();
  total += scores_of(late) != expected[0];
  std::printf("%d wrong\n", total);
  return total == 0 ? 0 : 1;
}
