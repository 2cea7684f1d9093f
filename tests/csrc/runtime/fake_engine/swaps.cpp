// One thread sets label banks while others tag: swaps PLAN SWAPS BANK... test_races.py builds it with ThreadSanitizer.
//
// In a bank, all names begin with its number, all biases are the number, and all thresholds are 0.1 times the number
// plus one; the fake engine's logits are the biases. A result that mixes two banks is wrong, and so is one that goes
// back.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "pvlr/pvlr.hpp"

namespace {

constexpr int kThreads = 4;

std::atomic<int> running{1};
std::atomic<int> frames{0};
std::atomic<int> wrong{0};
std::atomic<int> seen[10];

int number_of(const char* label) { return std::atoi(label); }

bool is_consistent(const pvlr_result& result, const std::vector<pvlr_tag>& tags) {
  const int bank = number_of(result.labels[0]);
  bool consistent = result.label_count == static_cast<std::size_t>(bank % 6 + 1);
  for (std::size_t i = 0; consistent && i < result.label_count; ++i) {
    consistent = number_of(result.labels[i]) == bank && std::abs(result.logits[i] - static_cast<float>(bank)) < 1e-6F &&
                 std::abs(result.thresholds[i] - 0.1F * static_cast<float>(bank + 1)) < 1e-6F;
  }
  for (const pvlr_tag& tag : tags) consistent &= tag.label == result.labels[tag.index];
  seen[bank].fetch_add(1, std::memory_order_relaxed);
  return consistent;
}

void tag_frames(const pvlr::Tagger& tagger) {
  const std::vector<unsigned char> pixels(3 * 16 * 16, 100);
  const pvlr_frame frame = pvlr::packed_frame(PVLR_FORMAT_BGR, 16, 16, pixels.data());
  std::vector<float> map;
  do {
    pvlr::Job first = tagger.submit(frame);  // two in flight, possibly with two banks
    pvlr::Job second = tagger.submit(frame);
    for (pvlr::Job* const job : {&second, &first}) {
      if (!is_consistent(job->wait(), job->tags())) wrong.fetch_add(1, std::memory_order_relaxed);
      job->map(0, &map);
      frames.fetch_add(1, std::memory_order_relaxed);
    }
    tagger.submit(frame);  // without a wait
    const pvlr_info info = tagger.info();
    if (info.label_count < 1 || info.label_count > 6) wrong.fetch_add(1, std::memory_order_relaxed);
  } while (running.load(std::memory_order_relaxed) != 0);
}

}  // namespace

int main(int argc, char** argv) {
  pvlr::Tagger tagger(argv[1]);
  const std::vector<std::string> banks(argv + 3, argv + argc);
  tagger.set_labels(banks[0]);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&tagger] { tag_frames(tagger); });
  for (int i = 0; i < std::atoi(argv[2]); ++i) {
    tagger.set_labels(banks[static_cast<std::size_t>(i) % banks.size()]);
    if (i % 10 == 0 && pvlr_set_labels(nullptr, "") == PVLR_OK) return 2;
  }
  running.store(0, std::memory_order_relaxed);
  for (std::thread& thread : threads) thread.join();
  int banks_seen = 0;
  for (const std::atomic<int>& count : seen) banks_seen += count.load() != 0 ? 1 : 0;
  std::printf("%s swaps, %d frames, %d banks seen, %d wrong\n", argv[2], frames.load(), banks_seen, wrong.load());
  return wrong == 0 ? 0 : 1;
}
