#include "world.h"

#include <cstdio>
#include <cstdlib>

World& fake_world() {
  static World world;
  return world;
}

int& fake_depth() {
  thread_local int depth = 0;
  return depth;
}

void fake_fail(const char* what) {
  std::fprintf(stderr, "the fake GPU got %s\n", what);
  std::abort();
}
