// A layer's settings as TensorRT's plugin fields.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "plugin/layer.h"

namespace pvlr::plugin {

// The settings of a layer that outlives this object, with their present values: TensorRT keeps a pointer.
class FieldCollection {
 public:
  explicit FieldCollection(const std::vector<Setting>& settings);
  FieldCollection(const FieldCollection&) = delete;
  FieldCollection& operator=(const FieldCollection&) = delete;

  const nvinfer1::PluginFieldCollection* get() const { return &collection_; }

 private:
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_;
};

// Sets the settings that fields name; the others keep their values. Null: no fields. An unknown or repeated name, a
// wrong type, several elements or a value out of range is a problem, after which some settings may already be set.
Problem read_fields(const nvinfer1::PluginFieldCollection* fields, const std::vector<Setting>& settings);

// "heads=8;alpha=0.5", with full precision
std::string text(const std::vector<Setting>& settings);

}  // namespace pvlr::plugin
