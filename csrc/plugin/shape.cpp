#include "plugin/shape.h"

namespace pvlr::plugin {

Shape::Shape(std::initializer_list<std::int64_t> values) {
  for (const std::int64_t value : values) push_back(value);
}

std::string text(const Shape& shape) {
  std::string result = "(";
  for (int axis = 0; axis < shape.rank; ++axis) {
    if (axis > 0) result += ", ";
    result += shape[axis] == kUnknown ? "?" : std::to_string(shape[axis]);
  }
  return result + ")";
}

bool compatible(const Shape& a, const Shape& b) {
  if (a.rank != b.rank) return false;
  for (int axis = 0; axis < a.rank; ++axis) {
    if (a[axis] != b[axis] && a[axis] != kUnknown && b[axis] != kUnknown) return false;
  }
  return true;
}

bool same_except(const Shape& a, const Shape& b, int except) {
  if (a.rank != b.rank) return false;
  for (int axis = 0; axis < a.rank; ++axis) {
    if (a[axis] != b[axis] && axis != except) return false;
  }
  return true;
}

Problem unexpected(const char* name, const std::string& expected, const Shape& got) {
  return std::string(name) + ": expected " + expected + ", got " + text(got);
}

}  // namespace pvlr::plugin
