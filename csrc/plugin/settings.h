// A layer's settings, read from named fields and written to them.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "plugin/shape.h"

namespace pvlr::plugin {

// A name and its value, which a layer owns.
struct Setting {
  const char* name;
  std::variant<std::int32_t*, float*> value;
};

enum class FieldType { kInt32, kInt64, kFloat32, kFloat64, kOther };

// A named array of `count` elements, which may be unaligned.
struct Field {
  const char* name;
  FieldType type;
  const void* data;
  std::int64_t count;
};

// Sets the settings that fields name; the others keep their values. An unknown or repeated name, a wrong type, several
// elements or a value out of range is a problem, after which some settings may already be set.
Problem read_fields(const std::vector<Field>& fields, const std::vector<Setting>& settings);

// Fields that point at the settings' values.
std::vector<Field> write_fields(const std::vector<Setting>& settings);

// "heads=8;alpha=0.5", with full precision
std::string text(const std::vector<Setting>& settings);

}  // namespace pvlr::plugin
