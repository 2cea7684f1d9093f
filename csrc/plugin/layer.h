// One operator with the questions that TensorRT asks, but without TensorRT's types, so it is tested without TensorRT.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "plugin/shape.h"
#include "pvlr/common.h"

namespace pvlr::plugin {

enum class ElementType { kFloat32, kFloat16, kBfloat16, kInt32, kOther };

// A name and its value, which a layer owns.
struct Setting {
  const char* name;
  std::variant<std::int32_t*, float*> value;
};

// The sizes of an output: for each axis, the input and its axis of the same size.
struct AxisOf {
  int input;
  int axis;
};
using OutputAxes = std::vector<AxisOf>;

// The range of a tensor's shape while an engine runs.
struct ShapeRange {
  Shape smallest;
  Shape largest;
};

// In the order of TensorRT's calls. The number of inputs is known only in each call.
class Layer {
 public:
  virtual ~Layer() = default;
  virtual std::unique_ptr<Layer> clone() const = 0;

  virtual const char* name() const = 0;
  virtual const char* input_name(int input) const = 0;
  virtual int output_count() const = 0;

  // The settings of a user; the layer owns the values.
  virtual std::vector<Setting> settings() = 0;
  virtual Problem check_settings() const = 0;

  // Whether the tensor at `position` (inputs first, then outputs) may have its type, given all types up to its own.
  virtual bool accepts(int position, const ElementType* types) const = 0;
  virtual Problem output_types(Span<ElementType> inputs, ElementType* outputs) const = 0;

  // Sizes may still be unknown.
  virtual Problem output_axes(Span<Shape> inputs, std::vector<OutputAxes>* outputs) const = 0;

  // The bytes of workspace that suffice for these shapes and for a smaller batch. `type` is that of input 0.
  virtual Problem workspace(Span<Shape> inputs, ElementType type, std::size_t* bytes) const = 0;

  // Prepares for these shapes.
  virtual Problem prepare(Span<Shape> inputs, ElementType type) = 0;

  // Queues the work for the shapes of the last prepare(); neither allocates nor waits. The workspace has the bytes
  // that workspace() asked for.
  virtual Problem run(const void* const* inputs, void* const* outputs, void* workspace, void* stream) const = 0;
};

// A layer that runs one launcher, whose workspace `kWorkspace` computes from the launcher's params.
template <typename Params, Status (*kWorkspace)(const Params&, std::size_t*)>
class KernelLayer : public Layer {
 public:
  Problem workspace(Span<Shape> inputs, ElementType type, std::size_t* bytes) const override {
    Params params{};
    PVLR_RETURN_IF_PROBLEM(fill(inputs, type, &params));
    return kWorkspace(params, bytes).message;
  }
  Problem prepare(Span<Shape> inputs, ElementType type) override {
    Params params{};
    PVLR_RETURN_IF_PROBLEM(fill(inputs, type, &params));
    // At most the reserved size, which suffices for a batch at least as large.
    PVLR_RETURN_IF_PROBLEM(kWorkspace(params, &params.workspace_bytes).message);
    prepared_ = params;
    return {};
  }

 protected:
  // Checks the shapes, and fills the params except for the pointers.
  virtual Problem fill(Span<Shape> inputs, ElementType type, Params* params) const = 0;

  Params prepared_{};  // without pointers
};

// Checks an input with one row per label: (batch, labels, width), or (1, labels, width) or (labels, width) for all
// images.
Problem check_bank(const char* name, const Shape& bank, const Shape& of_each_image);
bool same_for_all(const Shape& bank);

// The type must be one that accepts() accepted.
DataType data_type(ElementType type);

// Whether the layer runs for all shapes in the ranges, of which only the batch may change, and the bytes of workspace
// that suffice for each of them. An input with the rank of input 0 has a batch axis.
Problem configure(const Layer& layer, Span<ShapeRange> inputs, ElementType type, std::size_t* workspace);

// One new layer of each kind.
std::vector<std::unique_ptr<Layer>> all_layers();

}  // namespace pvlr::plugin
