// CUDA launchers that run the CPU versions, and checks.
#pragma once

#include <cstdio>
#include <string>

// Allocations so far, except those of the launchers.
extern int allocations;

inline int failures = 0;

inline void expect(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

inline void expect_begins(const std::string& text, const std::string& beginning) {
  expect(text.rfind(beginning, 0) == 0, "\"" + text + "\" begins with \"" + beginning + "\"");
}
