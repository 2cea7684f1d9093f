#include "plugin/tensorrt_fields.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

namespace pvlr::plugin {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

template <typename T>
T load(const PluginField& field) {
  T value;
  std::memcpy(&value, field.data, sizeof(T));  // it may be unaligned
  return value;
}

Problem read(const PluginField& field, std::int32_t* value) {
  const bool narrow = field.type == PluginFieldType::kINT32;
  if (!narrow && field.type != PluginFieldType::kINT64) return std::string(field.name) + ": expected an integer";
  const std::int64_t wide = narrow ? load<std::int32_t>(field) : load<std::int64_t>(field);
  *value = static_cast<std::int32_t>(wide);
  if (*value != wide) return std::string(field.name) + ": expected an integer of 32 bits, got " + std::to_string(wide);
  return {};
}

Problem read(const PluginField& field, float* value) {
  if (field.type == PluginFieldType::kFLOAT32) {
    *value = load<float>(field);
  } else if (field.type == PluginFieldType::kFLOAT64) {
    const auto wide = load<double>(field);
    const bool fits = std::abs(wide) <= static_cast<double>(std::numeric_limits<float>::max());
    *value = fits ? static_cast<float>(wide) : std::numeric_limits<float>::infinity();
  } else {
    return std::string(field.name) + ": expected a floating-point number";
  }
  return std::isfinite(*value) ? Problem{} : std::string(field.name) + ": expected a finite number";
}

}  // namespace

FieldCollection::FieldCollection(const std::vector<Setting>& settings) : collection_{} {
  for (const Setting& setting : settings) {
    const bool integer = std::holds_alternative<std::int32_t*>(setting.value);
    const void* data = std::visit([](auto* value) -> const void* { return value; }, setting.value);
    fields_.emplace_back(setting.name, data, integer ? PluginFieldType::kINT32 : PluginFieldType::kFLOAT32, 1);
  }
  collection_.nbFields = static_cast<std::int32_t>(fields_.size());
  collection_.fields = fields_.data();
}

Problem read_fields(const nvinfer1::PluginFieldCollection* fields, const std::vector<Setting>& settings) {
  std::vector<bool> seen(settings.size());
  const bool none = fields == nullptr || fields->fields == nullptr;
  for (int i = 0; !none && i < fields->nbFields; ++i) {
    const PluginField& field = fields->fields[i];
    if (field.name == nullptr) return "fields: one has no name";
    const auto setting = std::find_if(settings.begin(), settings.end(),
                                      [&field](const Setting& one) { return std::strcmp(one.name, field.name) == 0; });
    if (setting == settings.end()) return std::string(field.name) + ": unknown field";
    const auto index = static_cast<std::size_t>(setting - settings.begin());
    if (seen[index]) return std::string(field.name) + ": given twice";
    seen[index] = true;
    if (field.data == nullptr || field.length != 1) return std::string(field.name) + ": expected one number";
    PVLR_RETURN_IF_PROBLEM(std::visit([&field](auto* value) { return read(field, value); }, setting->value));
  }
  return {};
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
