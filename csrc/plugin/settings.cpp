#include "plugin/settings.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

namespace pvlr::plugin {
namespace {

template <typename T>
T load(const void* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

Problem read(const Field& field, std::int32_t* value) {
  if (field.type == FieldType::kInt32) {
    *value = load<std::int32_t>(field.data);
    return {};
  }
  if (field.type != FieldType::kInt64) return std::string(field.name) + ": expected an integer";
  const auto wide = load<std::int64_t>(field.data);
  *value = static_cast<std::int32_t>(wide);
  if (*value != wide) return std::string(field.name) + ": expected an integer of 32 bits, got " + std::to_string(wide);
  return {};
}

Problem read(const Field& field, float* value) {
  if (field.type == FieldType::kFloat32) {
    *value = load<float>(field.data);
  } else if (field.type == FieldType::kFloat64) {
    const auto wide = load<double>(field.data);
    const bool fits = std::abs(wide) <= static_cast<double>(std::numeric_limits<float>::max());
    *value = fits ? static_cast<float>(wide) : std::numeric_limits<float>::infinity();
  } else {
    return std::string(field.name) + ": expected a floating-point number";
  }
  return std::isfinite(*value) ? Problem{} : std::string(field.name) + ": expected a finite number";
}

}  // namespace

Problem read_fields(const std::vector<Field>& fields, const std::vector<Setting>& settings) {
  std::vector<bool> seen(settings.size());
  for (const Field& field : fields) {
    if (field.name == nullptr) return "fields: one has no name";
    const auto setting = std::find_if(settings.begin(), settings.end(),
                                      [&field](const Setting& one) { return std::strcmp(one.name, field.name) == 0; });
    if (setting == settings.end()) return std::string(field.name) + ": unknown field";
    const auto index = static_cast<std::size_t>(setting - settings.begin());
    if (seen[index]) return std::string(field.name) + ": given twice";
    seen[index] = true;
    if (field.data == nullptr || field.count != 1) return std::string(field.name) + ": expected one number";
    const Problem problem = std::visit([&field](auto* value) { return read(field, value); }, setting->value);
    if (!problem.empty()) return problem;
  }
  return {};
}

std::vector<Field> write_fields(const std::vector<Setting>& settings) {
  std::vector<Field> fields;
  for (const Setting& setting : settings) {
    const bool integer = std::holds_alternative<std::int32_t*>(setting.value);
    const void* data = std::visit([](auto* value) -> const void* { return value; }, setting.value);
    fields.push_back({setting.name, integer ? FieldType::kInt32 : FieldType::kFloat32, data, 1});
  }
  return fields;
}

std::string text(const std::vector<Setting>& settings) {
  std::string result;
  for (const Setting& setting : settings) {
    if (!result.empty()) result += ";";
    result += std::string(setting.name) + "=";
    if (const auto* integer = std::get_if<std::int32_t*>(&setting.value)) {
      result += std::to_string(**integer);
    } else {
      char digits[32];
      std::snprintf(digits, sizeof digits, "%.9g", static_cast<double>(*std::get<float*>(setting.value)));
      result += digits;
    }
  }
  return result;
}

}  // namespace pvlr::plugin
