// A layer as a TensorRT plugin (IPluginV3: TensorRT 10.0 and later), and the creator of such plugins.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

#include "plugin/tensorrt_fields.h"
#include "plugin/tensorrt_log.h"

namespace pvlr::plugin {

constexpr const char* kNamespace = "pvlr";
constexpr const char* kVersion = "1";

constexpr std::int32_t kOk = 0;
constexpr std::int32_t kFailed = -1;

inline ElementType element_type(nvinfer1::DataType type) {
  if (type == nvinfer1::DataType::kFLOAT) return ElementType::kFloat32;
  if (type == nvinfer1::DataType::kHALF) return ElementType::kFloat16;
  return type == nvinfer1::DataType::kBF16 ? ElementType::kBfloat16 : ElementType::kOther;
}

inline nvinfer1::DataType to_tensorrt(ElementType type) {
  if (type == ElementType::kFloat16) return nvinfer1::DataType::kHALF;
  return type == ElementType::kBfloat16 ? nvinfer1::DataType::kBF16 : nvinfer1::DataType::kFLOAT;
}

inline Shape shape_of(const nvinfer1::Dims& dims) {
  Shape shape;
  for (int axis = 0; axis < dims.nbDims; ++axis) shape.push_back(dims.d[axis]);
  return shape;
}

inline Shape shape_of(const nvinfer1::DimsExprs& dims) {
  Shape shape;
  for (int axis = 0; axis < dims.nbDims; ++axis) {
    shape.push_back(dims.d[axis]->isConstant() ? dims.d[axis]->getConstantValue() : kUnknown);
  }
  return shape;
}

inline bool linear(const nvinfer1::PluginTensorDesc& description) {
  return description.format == nvinfer1::TensorFormat::kLINEAR;
}

inline Problem check_types(const Layer& layer, Span<ElementType> inputs) {
  std::vector<ElementType> outputs(static_cast<std::size_t>(layer.output_count()));
  return layer.output_types(inputs, outputs.data());
}

// Of a profile's inputs.
inline Problem configure_inputs(const Layer& layer, const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t count,
                                std::size_t* workspace) {
  std::vector<ElementType> types;
  std::vector<ShapeRange> ranges;
  for (int i = 0; i < count; ++i) {
    types.push_back(element_type(inputs[i].desc.type));
    ranges.push_back({shape_of(inputs[i].min), shape_of(inputs[i].max)});
  }
  const Problem problem = check_types(layer, {types.data(), count});
  if (!problem.empty()) return problem;
  for (int i = 0; i < count; ++i) {
    if (!linear(inputs[i].desc)) return std::string(layer.input_name(i)) + ": expected the linear format";
  }
  return configure(layer, {ranges.data(), count}, types[0], workspace);
}

class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
 public:
  explicit Plugin(std::unique_ptr<Layer> layer)
      : layer_(std::move(layer)), description_(text(layer_->settings())), fields_(layer_->settings()) {}

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    switch (type) {
      case nvinfer1::PluginCapabilityType::kCORE:
        return static_cast<nvinfer1::IPluginV3OneCore*>(this);
      case nvinfer1::PluginCapabilityType::kBUILD:
        return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
      case nvinfer1::PluginCapabilityType::kRUNTIME:
        return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }
  nvinfer1::IPluginV3* clone() noexcept override {
    return guarded<nvinfer1::IPluginV3*>(layer_->name(), nullptr, [this] {
      auto copy = std::make_unique<Plugin>(layer_->clone());
      copy->prepared_ = prepared_;
      return copy.release();
    });
  }

  const char* getPluginName() const noexcept override { return layer_->name(); }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  std::int32_t getNbOutputs() const noexcept override { return layer_->output_count(); }
  std::int32_t getOutputDataTypes(nvinfer1::DataType* outputs, std::int32_t output_count,
                                  const nvinfer1::DataType* inputs, std::int32_t input_count) const noexcept override {
    return guarded(layer_->name(), kFailed, [&] {
      if (output_count != layer_->output_count())
        return answer("outputs: unexpected number " + std::to_string(output_count));
      std::vector<ElementType> types;
      for (int i = 0; i < input_count; ++i) types.push_back(element_type(inputs[i]));
      std::vector<ElementType> results(static_cast<std::size_t>(output_count));
      const Problem problem = layer_->output_types({types.data(), input_count}, results.data());
      if (!problem.empty()) return answer(problem);
      for (const ElementType result : results) *outputs++ = to_tensorrt(result);
      return kOk;
    });
  }
  std::int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, std::int32_t input_count, const nvinfer1::DimsExprs*,
                               std::int32_t, nvinfer1::DimsExprs* outputs, std::int32_t output_count,
                               nvinfer1::IExprBuilder&) noexcept override {
    return guarded(layer_->name(), kFailed, [&] {
      if (output_count != layer_->output_count())
        return answer("outputs: unexpected number " + std::to_string(output_count));
      std::vector<Shape> shapes;
      for (int i = 0; i < input_count; ++i) shapes.push_back(shape_of(inputs[i]));
      std::vector<OutputAxes> results;
      const Problem problem = layer_->output_axes({shapes.data(), input_count}, &results);
      if (!problem.empty()) return answer(problem);
      for (const OutputAxes& axes : results) {
        outputs->nbDims = 0;
        for (const AxisOf& same : axes) outputs->d[outputs->nbDims++] = inputs[same.input].d[same.axis];
        ++outputs;
      }
      return kOk;
    });
  }
  bool supportsFormatCombination(std::int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors, std::int32_t,
                                 std::int32_t) noexcept override {
    return guarded(layer_->name(), false, [&] {
      std::vector<ElementType> types;
      for (int i = 0; i <= position; ++i) types.push_back(element_type(tensors[i].desc.type));
      return linear(tensors[position].desc) && layer_->accepts(position, types.data());
    });
  }
  std::int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                               const nvinfer1::DynamicPluginTensorDesc*, std::int32_t) noexcept override {
    return guarded(layer_->name(), kFailed, [&] {
      std::size_t workspace = 0;
      return answer(configure_inputs(*layer_, inputs, input_count, &workspace));
    });
  }
  std::size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                               const nvinfer1::DynamicPluginTensorDesc*, std::int32_t) const noexcept override {
    return guarded(layer_->name(), std::size_t{0}, [&] {
      std::size_t workspace = 0;
      answer(configure_inputs(*layer_, inputs, input_count, &workspace));
      return workspace;
    });
  }
  const char* getTimingCacheID() noexcept override { return description_.c_str(); }
  const char* getMetadataString() noexcept override { return description_.c_str(); }

  std::int32_t onShapeChange(const nvinfer1::PluginTensorDesc* inputs, std::int32_t input_count,
                             const nvinfer1::PluginTensorDesc*, std::int32_t) noexcept override {
    prepared_ = false;
    return guarded(layer_->name(), kFailed, [&] {
      std::vector<ElementType> types;
      std::vector<Shape> shapes;
      for (int i = 0; i < input_count; ++i) {
        types.push_back(element_type(inputs[i].type));
        shapes.push_back(shape_of(inputs[i].dims));
      }
      const Problem problem = check_types(*layer_, {types.data(), input_count});
      if (!problem.empty()) return answer(problem);
      const Problem of_shapes = layer_->prepare({shapes.data(), input_count}, types[0]);
      prepared_ = of_shapes.empty();
      return answer(of_shapes);
    });
  }
  std::int32_t enqueue(const nvinfer1::PluginTensorDesc*, const nvinfer1::PluginTensorDesc*, const void* const* inputs,
                       void* const* outputs, void* workspace, cudaStream_t stream) noexcept override {
    return guarded(layer_->name(), kFailed, [&] {
      if (!prepared_) return answer("enqueue: onShapeChange was not called before, or failed");
      return answer(layer_->run(inputs, outputs, workspace, stream));
    });
  }
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override { return fields_.get(); }

 private:
  std::int32_t answer(const Problem& problem) const {
    if (problem.empty()) return kOk;
    log_error(layer_->name(), problem.c_str());
    return kFailed;
  }

  std::unique_ptr<Layer> layer_;
  std::string description_;  // all settings
  FieldCollection fields_;
  bool prepared_ = false;
};

class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  explicit Creator(std::unique_ptr<Layer> prototype)
      : prototype_(std::move(prototype)), fields_(prototype_->settings()) {}

  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase) noexcept override {
    return guarded<nvinfer1::IPluginV3*>(prototype_->name(), nullptr, [&]() -> nvinfer1::IPluginV3* {
      std::unique_ptr<Layer> layer = prototype_->clone();
      Problem problem = read_fields(fields, layer->settings());
      if (problem.empty()) problem = layer->check_settings();
      if (problem.empty()) return std::make_unique<Plugin>(std::move(layer)).release();
      log_error(prototype_->name(), problem.c_str());
      return nullptr;
    });
  }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return fields_.get(); }
  const char* getPluginName() const noexcept override { return prototype_->name(); }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

 private:
  std::unique_ptr<Layer> prototype_;
  FieldCollection fields_;
};

}  // namespace pvlr::plugin
