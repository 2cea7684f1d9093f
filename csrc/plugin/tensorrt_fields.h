// A layer's settings as TensorRT's plugin fields.
#pragma once

#include <NvInferRuntime.h>

#include <vector>

#include "plugin/settings.h"

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

// Null, or a collection whose pointer is null, has no fields.
std::vector<Field> fields_of(const nvinfer1::PluginFieldCollection* collection);

}  // namespace pvlr::plugin
