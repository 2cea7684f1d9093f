// Dual-softmax attention as a layer.
#pragma once

#include "plugin/layer.h"
#include "pvlr/dual_softmax_attention.h"

namespace pvlr::plugin {

// Inputs q_x, v_x (batch, tokens, heads * dim) and k_t, v_t ([batch or 1,] labels, heads * dim), outputs o_x like q_x
// and o_t (batch, labels, heads * dim), all of one type: the layout of linear layers, without a transposition.
// Only the batch may change while an engine runs.
class AttentionLayer final
    : public KernelLayer<DualSoftmaxAttentionParams, dual_softmax_attention_cuda_workspace_limit> {
 public:
  std::unique_ptr<Layer> clone() const override { return std::make_unique<AttentionLayer>(*this); }

  const char* name() const override { return "DualSoftmaxAttention"; }
  const char* input_name(int input) const override { return kNames[input]; }
  int output_count() const override { return 2; }

  std::vector<Setting> settings() override { return {{"heads", &heads_}}; }
  Problem check_settings() const override {
    if (heads_ > 0) return {};
    if (heads_ == 0) return "heads: the field is missing";
    return "heads: expected 1 or more, got " + std::to_string(heads_);
  }

  bool accepts(int position, const ElementType* types) const override {
    if (position > 0) return types[position] == types[0];
    return types[0] == ElementType::kFloat32 || types[0] == ElementType::kFloat16 || types[0] == ElementType::kBfloat16;
  }
  Problem output_types(Span<ElementType> inputs, ElementType* outputs) const override {
    PVLR_RETURN_IF_PROBLEM(check_count(inputs.count));
    for (int i = 0; i < inputs.count; ++i) {
      if (!accepts(i, inputs.data)) {
        return std::string(kNames[i]) + ": expected one type for all inputs, float32, float16 or bfloat16";
      }
    }
    outputs[0] = outputs[1] = inputs[0];
    return {};
  }
  Problem output_axes(Span<Shape> inputs, std::vector<OutputAxes>* outputs) const override {
    PVLR_RETURN_IF_PROBLEM(check(inputs));
    const AxisOf labels{kKeys, inputs[kKeys].rank - 2};
    *outputs = {{{kQueries, 0}, {kQueries, 1}, {kQueries, 2}}, {{kQueries, 0}, labels, {kQueries, 2}}};
    return {};
  }

  Problem run(const void* const* inputs, void* const* outputs, void* workspace, void* stream) const override {
    DualSoftmaxAttentionParams params = prepared_;
    params.q_x = inputs[kQueries];
    params.k_t = inputs[kKeys];
    params.v_x = inputs[kTokenValues];
    params.v_t = inputs[kLabelValues];
    params.o_x = outputs[0];
    params.o_t = outputs[1];
    params.workspace = workspace;
    return dual_softmax_attention_cuda(params, stream).message;
  }

 private:
  enum Input { kQueries, kKeys, kTokenValues, kLabelValues, kInputCount };
  static constexpr const char* kNames[] = {"q_x", "k_t", "v_x", "v_t"};

  static Problem check_count(int input_count) {
    if (input_count == kInputCount) return {};
    return "inputs: expected the 4 inputs q_x, k_t, v_x, v_t, got " + std::to_string(input_count);
  }

  Problem check(Span<Shape> inputs) const {
    PVLR_RETURN_IF_PROBLEM(check_count(inputs.count));
    const Shape& queries = inputs[kQueries];
    if (queries.rank != 3) return unexpected("q_x", "(batch, tokens, heads * dim)", queries);
    const std::int64_t width = queries[2];
    if (width != kUnknown && width % heads_ != 0) {
      return unexpected("q_x", "a last axis that " + std::to_string(heads_) + " heads can share", queries);
    }
    const Shape& values = inputs[kTokenValues];
    if (!compatible(values, queries)) return unexpected("v_x", "the shape of q_x, " + text(queries), values);
    for (const Input bank : {kKeys, kLabelValues}) {
      const Shape& keys = inputs[kKeys];
      const std::int64_t labels = bank == kKeys ? kUnknown : keys[keys.rank - 2];
      PVLR_RETURN_IF_PROBLEM(check_bank(kNames[bank], inputs[bank], {queries[0], labels, width}));
    }
    return {};
  }
  Problem fill(Span<Shape> inputs, ElementType type, DualSoftmaxAttentionParams* params) const override {
    PVLR_RETURN_IF_PROBLEM(check(inputs));
    const Shape& queries = inputs[kQueries];
    const Shape& keys = inputs[kKeys];
    DualSoftmaxAttentionParams& p = *params;
    p = {};
    p.type = data_type(type);
    p.batch = queries[0];
    p.heads = heads_;
    p.tokens = queries[1];
    p.labels = keys[keys.rank - 2];
    p.dim = queries[2] / heads_;
    const auto strides = [&queries, &p](std::int64_t rows, bool of_all_images) {
      const std::int64_t width = queries[2];
      return AttentionStrides{of_all_images ? 0 : rows * width, p.dim, width};
    };
    p.q_x_strides = p.v_x_strides = p.o_x_strides = strides(p.tokens, false);
    p.o_t_strides = strides(p.labels, false);
    p.k_t_strides = strides(p.labels, same_for_all(keys));
    p.v_t_strides = strides(p.labels, same_for_all(inputs[kLabelValues]));
    return {};
  }

  std::int32_t heads_ = 0;  // until it is given
};

}  // namespace pvlr::plugin
