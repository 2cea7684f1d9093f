// What the checks of the arguments ask of an output's strides.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace pvlr {

struct Axis {
  std::int64_t stride;  // in elements
  std::int64_t size;
};

// Whether no two of an output's runs of `contiguous` elements lie on each other.
template <std::size_t kAxes>
bool apart(Axis (&&axes)[kAxes], std::int64_t contiguous) {
  std::sort(axes, axes + kAxes, [](const Axis& a, const Axis& b) { return a.stride < b.stride; });
  std::int64_t reach = contiguous - 1;  // of the axes so far
  for (const Axis& axis : axes) {
    if (axis.size == 1) continue;
    if (axis.stride <= reach) return false;
    reach += axis.stride * (axis.size - 1);
  }
  return true;
}

}  // namespace pvlr
