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
  const char* input_name(int input) const override;
  int output_count() const override { return 2; }

  std::vector<Setting> settings() override { return {{"heads", &heads_}}; }
  Problem check_settings() const override;

  bool accepts(int position, const ElementType* types) const override;
  Problem output_types(Span<ElementType> inputs, ElementType* outputs) const override;
  Problem output_axes(Span<Shape> inputs, std::vector<OutputAxes>* outputs) const override;

  Problem run(const void* const* inputs, void* const* outputs, void* workspace, void* stream) const override;

 private:
  Problem check(Span<Shape> inputs) const;
  Problem fill(Span<Shape> inputs, ElementType type, DualSoftmaxAttentionParams* params) const override;

  std::int32_t heads_ = 0;  // until it is given
};

}  // namespace pvlr::plugin
