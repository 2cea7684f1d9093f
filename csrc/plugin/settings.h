// A layer's settings, set from named fields and written back into them.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "plugin/shape.h"

namespace pvlr::plugin {

// A name and the value behind it, which some layer owns.
struct Setting {
  const char* name;
  std::variant<std::int32_t*, float*> value;
};

enum class FieldType { kInt32, kInt64, kFloat32, kFloat64, kOther };

// A named array of `count` elements, perhaps not aligned.
struct Field {
  const char* name;
  FieldType type;
  const void* data;
  std::int64_t count;
};

// Sets each setting that a field is named after; the others keep what they have. An unknown name, a second field of one
// name, a wrong type, several elements or a value that doesn't fit is a problem, after which some may be set already.
Problem read_fields(const std::vector<Field>& fields, const std::vector<Setting>& settings);

// Fields that point at the settings' values.
std::vector<Field> write_fields(const std::vector<Setting>& settings);

// "heads=8;alpha=0.5", with all digits
std::string text(const std::vector<Setting>& settings);

}  // namespace pvlr::plugin
