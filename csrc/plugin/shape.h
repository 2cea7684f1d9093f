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
  Shape(std::initializer_list<std::int64_t> values);

  std::int64_t operator[](int axis) const { return sizes[static_cast<std::size_t>(axis)]; }
  void push_back(std::int64_t size) { sizes[static_cast<std::size_t>(rank++)] = size; }
};

// "(2, ?, 64)"
std::string text(const Shape& shape);

// Whether the two can be equal once all sizes are known.
bool compatible(const Shape& a, const Shape& b);

// Whether the two are equal in all axes except the given one; -1: in all axes.
bool same_except(const Shape& a, const Shape& b, int axis);

// "name: expected ..., got (2, 3)"
Problem unexpected(const char* name, const std::string& expected, const Shape& got);

}  // namespace pvlr::plugin
