// Checks of the launchers' tests.
#pragma once

#include <cstdio>
#include <cstring>

#include "pvlr/common.h"

inline int failures = 0;

inline void expect(bool condition, const char* what, const char* got = "") {
  if (condition) return;
  ++failures;
  std::printf("FAILED: %s %s\n", what, got);
}

// That a call was refused with this code, and a message that begins with the argument's name.
inline void expect_refused(const pvlr::Status& status, pvlr::StatusCode code, const char* name) {
  expect(status.code == code, name, status.message);
  const std::size_t length = std::strlen(name);
  expect(std::strncmp(status.message, name, length) == 0 && status.message[length] == ':', name, status.message);
}

inline int result() {
  if (failures == 0) std::printf("ok\n");
  return failures != 0;
}
