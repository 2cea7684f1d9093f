// What the cases of tensorrt_runner.cpp share: checks, frames, and jobs on the fake GPU.
#pragma once

#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "fake_tensorrt/world.h"
#include "pvlr/pvlr.hpp"

using Scores = std::vector<float>;

inline int failures = 0;
inline std::string plan;

inline void expect(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  std::printf("FAILED: %s; the last error is '%s'\n", what.c_str(), pvlr_last_error());
}

inline void expect_equal(int got, int expected, const std::string& what) {
  expect(got == expected, what + ": expected " + std::to_string(expected) + ", got " + std::to_string(got));
}

// The call must fail with the code and a message that contains the text.
template <typename Call>
void expect_error(pvlr_status code, const std::string& text, const Call& call) {
  try {
    call();
    expect(false, "an error with " + text);
  } catch (const pvlr::Error& error) {
    expect(error.code() == code && std::strstr(error.what(), text.c_str()) != nullptr,
           "error " + std::to_string(code) + " with '" + text + "', got " + std::to_string(error.code()));
  }
}

inline pvlr_options allowing(pvlr_optimize optimize = PVLR_OPTIMIZE_LATENCY) {
  auto options = pvlr::make<pvlr_options>();
  options.allow_unsigned = 1;
  options.optimize = optimize;
  return options;
}

inline pvlr::Tagger open_plan(pvlr_optimize optimize = PVLR_OPTIMIZE_LATENCY) {
  return pvlr::Tagger(plan, allowing(optimize));
}

// Frames whose scores differ.
inline pvlr_frame frame(int index) {
  static std::map<int, std::vector<unsigned char>> all;
  std::vector<unsigned char>& pixels = all[index];
  for (int i = static_cast<int>(pixels.size()); i < 3 * 40 * 30; ++i) {
    pixels.push_back(static_cast<unsigned char>(31 * index + i % 89));
  }
  return pvlr::packed_frame(PVLR_FORMAT_BGR, 40, 30, pixels.data());
}

inline Scores scores_of(pvlr::Job job) {
  const pvlr_result result = job.wait();
  return {result.scores, result.scores + result.label_count};
}

// Of single frames, one after the other.
inline std::vector<Scores> references(const pvlr::Tagger& tagger, int count) {
  std::vector<Scores> all;
  for (int i = 0; i < count; ++i) all.push_back(scores_of(tagger.submit(frame(i))));
  expect(all[0] != all[1], "frames with different scores");
  return all;
}

// More jobs at once, in one thread, than there are execution contexts; waited for in the opposite order.
inline void check_in_flight(const pvlr::Tagger& tagger, const std::vector<Scores>& expected) {
  std::vector<pvlr::Job> jobs;
  for (std::size_t i = 0; i < expected.size(); ++i) jobs.push_back(tagger.submit(frame(static_cast<int>(i))));
  for (std::size_t i = expected.size(); i-- > 0;) {
    expect(scores_of(std::move(jobs[i])) == expected[i], "scores of frame " + std::to_string(i));
  }
}
