// What the argument checks of several kernels share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "pvlr/common.h"

namespace pvlr {

inline bool is_size(std::int64_t size) { return size >= 1 && size <= std::int64_t{1} << 20; }

// Of the fields that every kernel has.
inline Status check_common(DataType type, std::int64_t threads) {
  if (type != DataType::kFloat32 && type != DataType::kFloat16 && type != DataType::kBfloat16) {
    return invalid("type: must be float32, float16 or bfloat16");
  }
  if (threads < 0 || threads > 1024) return invalid("threads: must be between 0 and 1024");
  return {};
}

struct Axis {
  std::int64_t stride;  // in elements
  std::int64_t size;
};

// Whether no two of an output's runs of `contiguous` elements overlap.
template <std::size_t kAxes>
bool disjoint(Axis (&&axes)[kAxes], std::int64_t contiguous) {
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
