#include "plugin/tensorrt_fields.h"

namespace pvlr::plugin {
namespace {

using nvinfer1::PluginFieldType;

FieldType from_tensorrt(PluginFieldType type) {
  switch (type) {
    case PluginFieldType::kINT32:
      return FieldType::kInt32;
    case PluginFieldType::kINT64:
      return FieldType::kInt64;
    case PluginFieldType::kFLOAT32:
      return FieldType::kFloat32;
    case PluginFieldType::kFLOAT64:
      return FieldType::kFloat64;
    default:
      return FieldType::kOther;
  }
}

}  // namespace

FieldCollection::FieldCollection(const std::vector<Setting>& settings) : collection_{} {
  for (const Field& field : write_fields(settings)) {
    const bool integer = field.type == FieldType::kInt32;
    fields_.emplace_back(field.name, field.data, integer ? PluginFieldType::kINT32 : PluginFieldType::kFLOAT32, 1);
  }
  collection_.nbFields = static_cast<std::int32_t>(fields_.size());
  collection_.fields = fields_.data();
}

std::vector<Field> fields_of(const nvinfer1::PluginFieldCollection* collection) {
  std::vector<Field> fields;
  if (collection == nullptr || collection->fields == nullptr) return fields;
  for (int i = 0; i < collection->nbFields; ++i) {
    const nvinfer1::PluginField& field = collection->fields[i];
    fields.push_back({field.name, from_tensorrt(field.type), field.data, field.length});
  }
  return fields;
}

}  // namespace pvlr::plugin
