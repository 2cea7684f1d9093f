// Shapes of tensors, in which sizes may be unknown, and reasons to refuse them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace pvlr::plugin {

// Why something is refused, beginning with the name of the argument; empty if it is valid.
using Problem = std::string;

// Returns from the calling function if an expression gives a problem.
#define PVLR_RETURN_IF_PROBLEM(...)         \
  do {                                      \
    const Problem problem_ = __VA_ARGS__;   \
    if (!problem_.empty()) return problem_; \
  } while (0)

// An array owned by someone else.
template <typename T>
struct Span {
  const T* data;
  int count;

  const T& operator[](int index) const { return data[index]; }
};

constexpr int kMaxRank = 8;  // as in TensorRT
constexpr std::int64_t kUnknown = -1;

struct Shape {
  int rank = 0;
  std::array<std::int64_t, kMaxRank> sizes{};

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> values) {
    for (const std::int64_t value : values) push_back(value);
  }

  std::int64_t operator[](int axis) const { return sizes[static_cast<std::size_t>(axis)]; }
  void push_back(std::int64_t size) { sizes[static_cast<std::size_t>(rank++)] = size; }
};

// "(2, ?, 64)"
inline std::string text(const Shape& shape) {
  std::string result = "(";
  for (int axis = 0; axis < shape.rank; ++axis) {
    if (axis > 0) result += ", ";
    result += shape[axis] == kUnknown ? "?" : std::to_string(shape[axis]);
  }
  return result + ")";
}

// Whether the two can be equal once all sizes are known.
inline bool compatible(const Shape& a, const Shape& b) {
  if (a.rank != b.rank) return false;
  for (int axis = 0; axis < a.rank; ++axis) {
    if (a[axis] != b[axis] && a[axis] != kUnknown && b[axis] != kUnknown) return false;
  }
  return true;
}

// Whether the two are equal in all axes except the given one; -1: in all axes.
inline bool same_except(const Shape& a, const Shape& b, int except) {
  if (a.rank != b.rank) return false;
  for (int axis = 0; axis < a.rank; ++axis) {
    if (a[axis] != b[axis] && axis != except) return false;
  }
  return true;
}

// "name: expected ..., got (2, 3)"
inline Problem unexpected(const char* name, const std::string& expected, const Shape& got) {
  return std::string(name) + ": expected " + expected + ", got " + text(got);
}

}  // namespace pvlr::plugin
