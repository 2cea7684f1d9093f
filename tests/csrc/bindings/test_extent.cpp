// Extents of arrays with sizes and strides at the limits of 64 bits; host/test_core.py builds it with sanitizers.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "bindings/extent.h"

namespace {

using pvlr::bindings::address_of;
using pvlr::bindings::contiguous_strides_of;
using pvlr::bindings::Extent;
using pvlr::bindings::extent_of;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::printf("not so: %s\n", what);
  std::exit(1);
}

}  // namespace

int main() {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

  expect(extent_of(1000, {2, 3}, {3, 1}, 4) == Extent{1000, 1024}, "contiguous");
  expect(extent_of(1000, {2, 3}, {-3, 1}, 4) == Extent{988, 1012}, "flipped");
  expect(extent_of(1000, {}, {}, 4) == Extent{1000, 1004}, "one element");
  expect(extent_of(1000, {0, 5}, {kHuge, kMin}, 4) == Extent{0, 0}, "none");
  expect(extent_of(1000, {1}, {kMin}, 8) == Extent{1000, 1008}, "a stride that is never taken");

  expect(!extent_of(1000, {3}, {kHuge}, 4), "a stride of 2^62, three times");
  expect(!extent_of(1000, {5}, {kHuge}, 4), "5 x 2^62, which wraps to 0");
  expect(!extent_of(1000, {2}, {kHuge}, 4), "2^62 elements of 4 bytes");
  expect(!extent_of(1000, {2, 2}, {kHuge, kHuge}, 1), "two axes that overflow together");
  expect(!extent_of(1000, {2}, {-2000}, 1), "below address 0");
  expect(!extent_of(1000, {kMax}, {kMax}, 8), "both at the limit");
  expect(!extent_of(1000, {2}, {kMin}, 1), "the smallest stride");
  expect(!extent_of(std::numeric_limits<std::uintptr_t>::max(), {2}, {1}, 1), "beyond the last address");

  expect(address_of(1000, -250, 4) == std::uintptr_t{0}, "address 0");
  expect(!address_of(1000, -251, 4), "an address below 0");
  expect(!address_of(1000, kHuge, 4), "an offset of 2^62");

  expect(contiguous_strides_of({2, 3, 4}) == std::vector<std::int64_t>{12, 4, 1}, "strides");
  expect(!contiguous_strides_of({kHuge, kHuge, 2}), "sizes that overflow");
  std::printf("ok\n");
}
