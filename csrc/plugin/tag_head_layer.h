// The tag head as a layer: logits and similarities.
#pragma once

#include <limits>

#include "plugin/layer.h"
#include "pvlr/tag_head.h"

namespace pvlr::plugin {

// Inputs x (batch, tokens, width) and t ([batch or 1,] labels, width), of one type; then, in float32, bias (labels,)
// and, if the layer norms are part of it, x_weight, x_bias, t_weight, t_bias (width,).
// Outputs, in float32: logits (batch, labels) and, unless maps is 0, similarity (batch, tokens, labels).
// Only the batch may change while an engine runs.
class TagHeadLayer final : public KernelLayer<TagHeadParams, tag_head_cuda_workspace> {
 public:
  std::unique_ptr<Layer> clone() const override { return std::make_unique<TagHeadLayer>(*this); }

  const char* name() const override { return "TagHead"; }
  const char* input_name(int input) const override;
  int output_count() const override { return maps_ == 0 ? 1 : 2; }

  std::vector<Setting> settings() override {
    return {{"scale", &scale_}, {"alpha", &alpha_}, {"epsilon", &epsilon_}, {"maps", &maps_}};
  }
  Problem check_settings() const override;

  bool accepts(int position, const ElementType* types) const override;
  Problem output_types(Span<ElementType> inputs, ElementType* outputs) const override;
  Problem output_axes(Span<Shape> inputs, std::vector<OutputAxes>* outputs) const override;

  Problem prepare(Span<Shape> inputs, ElementType type) override;
  Problem run(const void* const* inputs, void* const* outputs, void* workspace, void* stream) const override;

 private:
  Problem check(Span<Shape> inputs) const;
  Problem fill(Span<Shape> inputs, ElementType type, TagHeadParams* params) const override;

  // NaN until set: no default fits every model.
  float scale_ = std::numeric_limits<float>::quiet_NaN();
  float alpha_ = std::numeric_limits<float>::quiet_NaN();
  float epsilon_ = 1e-5F;
  std::int32_t maps_ = 1;
  bool normed_ = false;
};

}  // namespace pvlr::plugin
