// The tag head as a layer: logits and similarities.
#pragma once

#include <algorithm>
#include <cmath>
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
  const char* input_name(int input) const override { return kNames[input]; }
  int output_count() const override { return maps_ == 0 ? 1 : 2; }

  std::vector<Setting> settings() override {
    return {{"scale", &scale_}, {"alpha", &alpha_}, {"epsilon", &epsilon_}, {"maps", &maps_}};
  }
  Problem check_settings() const override {
    if (std::isnan(scale_)) return "scale: the field is missing";
    if (std::isnan(alpha_)) return "alpha: the field is missing";
    if (maps_ != 0 && maps_ != 1) return "maps: expected 0 or 1, got " + std::to_string(maps_);
    if (epsilon_ < 0) return "epsilon: expected 0 or more, got " + std::to_string(epsilon_);
    return {};
  }

  bool accepts(int position, const ElementType* types) const override {
    const ElementType type = types[position];
    if (position == kLabels) return type == types[kTokens];
    if (position > kLabels) return type == ElementType::kFloat32;
    return type == ElementType::kFloat32 || type == ElementType::kFloat16 || type == ElementType::kBfloat16;
  }
  Problem output_types(Span<ElementType> inputs, ElementType* outputs) const override {
    PVLR_RETURN_IF_PROBLEM(check_count(inputs.count));
    for (int i = 0; i < inputs.count; ++i) {
      if (accepts(i, inputs.data)) continue;
      const char* expected = i > kLabels ? "float32" : "one type for x and t, float32, float16 or bfloat16";
      return std::string(kNames[i]) + ": expected " + expected;
    }
    std::fill_n(outputs, output_count(), ElementType::kFloat32);
    return {};
  }
  Problem output_axes(Span<Shape> inputs, std::vector<OutputAxes>* outputs) const override {
    PVLR_RETURN_IF_PROBLEM(check(inputs));
    const AxisOf labels{kLabels, inputs[kLabels].rank - 2};
    *outputs = {{{kTokens, 0}, labels}};
    if (maps_ != 0) outputs->push_back({{kTokens, 0}, {kTokens, 1}, labels});
    return {};
  }

  Problem prepare(Span<Shape> inputs, ElementType type) override {
    normed_ = inputs.count == kInputCount;
    return KernelLayer::prepare(inputs, type);
  }
  Problem run(const void* const* inputs, void* const* outputs, void* workspace, void* stream) const override {
    TagHeadParams params = prepared_;
    const auto numbers = [inputs](Input input) { return static_cast<const float*>(inputs[input]); };
    params.x = inputs[kTokens];
    params.t = inputs[kLabels];
    params.bias = numbers(kBias);
    if (normed_) {
      params.x_norm = {numbers(kTokenWeight), numbers(kTokenBias)};
      params.t_norm = {numbers(kLabelWeight), numbers(kLabelBias)};
    }
    params.logits = static_cast<float*>(outputs[0]);
    if (maps_ != 0) params.maps = static_cast<float*>(outputs[1]);
    params.workspace = workspace;
    return tag_head_cuda(params, stream).message;
  }

 private:
  enum Input { kTokens, kLabels, kBias, kTokenWeight, kTokenBias, kLabelWeight, kLabelBias, kInputCount };
  static constexpr const char* kNames[] = {"x", "t", "bias", "x_weight", "x_bias", "t_weight", "t_bias"};
  static constexpr int kCountWithoutNorms = kTokenWeight;

  static Problem check_count(int input_count) {
    if (input_count == kInputCount || input_count == kCountWithoutNorms) return {};
    return "inputs: expected x, t, bias or these and x_weight, x_bias, t_weight, t_bias, got " +
           std::to_string(input_count);
  }

  Problem check(Span<Shape> inputs) const {
    PVLR_RETURN_IF_PROBLEM(check_count(inputs.count));
    const Shape& x = inputs[kTokens];
    const Shape& t = inputs[kLabels];
    if (x.rank != 3) return unexpected("x", "(batch, tokens, width)", x);
    PVLR_RETURN_IF_PROBLEM(check_bank("t", t, {x[0], kUnknown, x[2]}));
    for (int i = kBias; i < inputs.count; ++i) {
      const Shape expected{i == kBias ? t[t.rank - 2] : x[2]};
      if (!compatible(inputs[i], expected)) return unexpected(kNames[i], text(expected), inputs[i]);
    }
    return {};
  }
  Problem fill(Span<Shape> inputs, ElementType type, TagHeadParams* params) const override {
    PVLR_RETURN_IF_PROBLEM(check(inputs));
    const Shape& x = inputs[kTokens];
    const Shape& t = inputs[kLabels];
    TagHeadParams& p = *params;
    p = {};
    p.type = data_type(type);
    p.batch = x[0];
    p.tokens = x[1];
    p.labels = t[t.rank - 2];
    p.width = x[2];
    p.x_strides = {p.tokens * p.width, p.width};
    p.t_strides = {same_for_all(t) ? 0 : p.labels * p.width, p.width};
    p.scale = scale_;
    p.alpha = alpha_;
    p.epsilon = epsilon_;
    p.maps_kind = TagHeadMap::kSimilarity;
    p.maps_count = p.labels;
    p.maps_batch_stride = p.tokens * p.labels;
    p.maps_token_stride = p.labels;
    p.maps_label_stride = 1;
    return {};
  }

  // NaN until set: no default fits every model.
  float scale_ = std::numeric_limits<float>::quiet_NaN();
  float alpha_ = std::numeric_limits<float>::quiet_NaN();
  float epsilon_ = 1e-5F;
  std::int32_t maps_ = 1;
  bool normed_ = false;
};

}  // namespace pvlr::plugin
