#include "plugin/tensorrt_plugin.h"

#include "plugin/tensorrt_log.h"

namespace pvlr::plugin {
namespace {

constexpr std::int32_t kOk = 0;
constexpr std::int32_t kFailed = -1;

ElementType element_type(nvinfer1::DataType type) {
  if (type == nvinfer1::DataType::kFLOAT) return ElementType::kFloat32;
  if (type == nvinfer1::DataType::kHALF) return ElementType::kFloat16;
  return type == nvinfer1::DataType::kBF16 ? ElementType::kBfloat16 : ElementType::kOther;
}

nvinfer1::DataType to_tensorrt(ElementType type) {
  if (type == ElementType::kFloat16) return nvinfer1::DataType::kHALF;
  return type == ElementType::kBfloat16 ? nvinfer1::DataType::kBF16 : nvinfer1::DataType::kFLOAT;
}

Shape shape_of(const nvinfer1::Dims& dims) {
  Shape shape;
  for (int axis = 0; axis < dims.nbDims; ++axis) shape.push_back(dims.d[axis]);
  return shape;
}

Shape shape_of(const nvinfer1::DimsExprs& dims) {
  Shape shape;
  for (int axis = 0; axis < dims.nbDims; ++axis) {
    shape.push_back(dims.d[axis]->isConstant() ? dims.d[axis]->getConstantValue() : kUnknown);
  }
  return shape;
}

bool linear(const nvinfer1::PluginTensorDesc& description) {
  return description.format == nvinfer1::TensorFormat::kLINEAR;
}

Problem check_types(const Layer& layer, Span<ElementType> inputs) {
  std::vector<ElementType> outputs(static_cast<std::size_t>(layer.output_count()));
  return layer.output_types(inputs, outputs.data());
}

// Of a profile's inputs.
Problem configure_inputs(const Layer& layer, const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t count,
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

}  // namespace

Plugin::Plugin(std::unique_ptr<Layer> layer)
    : layer_(std::move(layer)), description_(text(layer_->settings())), fields_(layer_->settings()) {}

std::int32_t Plugin::answer(const Problem& problem) const {
  if (problem.empty()) return kOk;
  log_error(layer_->name(), problem.c_str());
  return kFailed;
}

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept {
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

nvinfer1::IPluginV3* Plugin::clone() noexcept {
  return guarded<nvinfer1::IPluginV3*>(layer_->name(), nullptr, [this] {
    auto copy = std::make_unique<Plugin>(layer_->clone());
    copy->prepared_ = prepared_;
    return copy.release();
  });
}

std::int32_t Plugin::getOutputDataTypes(nvinfer1::DataType* outputs, std::int32_t output_count,
                                        const nvinfer1::DataType* inputs, std::int32_t input_count) const noexcept {
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

std::int32_t Plugin::getOutputShapes(const nvinfer1::DimsExprs* inputs, std::int32_t input_count,
                                     const nvinfer1::DimsExprs*, std::int32_t, nvinfer1::DimsExprs* outputs,
                                     std::int32_t output_count, nvinfer1::IExprBuilder&) noexcept {
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

bool Plugin::supportsFormatCombination(std::int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors,
                                       std::int32_t, std::int32_t) noexcept {
  return guarded(layer_->name(), false, [&] {
    std::vector<ElementType> types;
    for (int i = 0; i <= position; ++i) types.push_back(element_type(tensors[i].desc.type));
    return linear(tensors[position].desc) && layer_->accepts(position, types.data());
  });
}

std::int32_t Plugin::configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                                     const nvinfer1::DynamicPluginTensorDesc*, std::int32_t) noexcept {
  return guarded(layer_->name(), kFailed, [&] {
    std::size_t workspace = 0;
    return answer(configure_inputs(*layer_, inputs, input_count, &workspace));
  });
}

std::size_t Plugin::getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                                     const nvinfer1::DynamicPluginTensorDesc*, std::int32_t) const noexcept {
  return guarded(layer_->name(), std::size_t{0}, [&] {
    std::size_t workspace = 0;
    answer(configure_inputs(*layer_, inputs, input_count, &workspace));
    return workspace;
  });
}

std::int32_t Plugin::onShapeChange(const nvinfer1::PluginTensorDesc* inputs, std::int32_t input_count,
                                   const nvinfer1::PluginTensorDesc*, std::int32_t) noexcept {
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

std::int32_t Plugin::enqueue(const nvinfer1::PluginTensorDesc*, const nvinfer1::PluginTensorDesc*,
                             const void* const* inputs, void* const* outputs, void* workspace,
                             cudaStream_t stream) noexcept {
  return guarded(layer_->name(), kFailed, [&] {
    if (!prepared_) return answer("enqueue: onShapeChange was not called before, or failed");
    return answer(layer_->run(inputs, outputs, workspace, stream));
  });
}

nvinfer1::IPluginV3* Plugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept { return clone(); }

Creator::Creator(std::unique_ptr<Layer> prototype)
    : prototype_(std::move(prototype)), fields_(prototype_->settings()) {}

nvinfer1::IPluginV3* Creator::createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                           nvinfer1::TensorRTPhase) noexcept {
  return guarded<nvinfer1::IPluginV3*>(prototype_->name(), nullptr, [&]() -> nvinfer1::IPluginV3* {
    std::unique_ptr<Layer> layer = prototype_->clone();
    Problem problem = read_fields(fields, layer->settings());
    if (problem.empty()) problem = layer->check_settings();
    if (problem.empty()) return std::make_unique<Plugin>(std::move(layer)).release();
    log_error(prototype_->name(), problem.c_str());
    return nullptr;
  });
}

}  // namespace pvlr::plugin
