// The plugin's argument and shape logic, without TensorRT: what it takes, and what it refuses with which words.
#include <vector>

#include "layers.h"

namespace {

void check_types() {
  using E = ElementType;
  E outputs[2];
  const auto types = [&outputs](const Layer& layer, const std::vector<E>& inputs) {
    return layer.output_types({inputs.data(), static_cast<int>(inputs.size())}, outputs);
  };
  const AttentionLayer layer = attention(2);
  for (const E type : {E::kFloat32, E::kFloat16, E::kBfloat16}) {
    expect(types(layer, {type, type, type, type}).empty() && outputs[0] == type && outputs[1] == type, "one type");
    const E all[] = {type, type, type, type, type, type};
    for (int i = 0; i < 6; ++i) expect(layer.accepts(i, all), "each position");
  }
  expect_begins(types(layer, {E::kInt32, E::kInt32, E::kInt32, E::kInt32}), "q_x: expected one type for all inputs");
  expect_begins(types(layer, {E::kFloat16, E::kFloat16, E::kFloat32, E::kFloat16}), "v_x: expected one type");
  expect_begins(types(layer, {E::kFloat16, E::kFloat16}), "inputs: expected the 4 inputs q_x, k_t, v_x, v_t, got 2");
  const E mixed[] = {E::kFloat16, E::kFloat32};
  expect(!layer.accepts(1, mixed), "another type is refused");

  const TagHeadLayer head = tag_head(1, 1);
  expect(types(head, {E::kFloat16, E::kFloat16, E::kFloat32}).empty() && outputs[0] == E::kFloat32,
         "float32 comes out");
  expect_begins(types(head, {E::kFloat16, E::kBfloat16, E::kFloat32}), "t: expected one type for x and t");
  expect_begins(types(head, {E::kFloat16, E::kFloat16, E::kFloat16}), "bias: expected float32");
  expect_begins(types(head, {E::kOther, E::kOther, E::kFloat32}), "x: expected one type");
  expect_begins(types(head, {E::kFloat16, E::kFloat16, E::kFloat32, E::kFloat32}), "inputs: expected x, t, bias");
}

std::string shape_text(const OutputAxes& axes) {
  std::string result;
  for (const AxisOf& same : axes) result += std::to_string(same.input) + "." + std::to_string(same.axis) + " ";
  return result;
}

void check_shapes() {
  const AttentionLayer layer = attention(4);
  std::vector<OutputAxes> axes;
  const Shape queries{kUnknown, 49, 256};
  expect(layer.output_axes(span({queries, {1, 80, 256}, queries, {80, 256}}), &axes).empty(), "unknown batch");
  expect(shape_text(axes[0]) == "0.0 0.1 0.2 " && shape_text(axes[1]) == "0.0 1.1 0.2 ", shape_text(axes[1]));
  expect(layer.output_axes(span({queries, {80, 256}, queries, {80, 256}}), &axes).empty(), "a bank without a batch");
  expect(shape_text(axes[1]) == "0.0 1.0 0.2 ", shape_text(axes[1]));
  const struct {
    Shapes shapes;
    const char* message;
  } refused[] = {
      {{queries, {1, 80, 256}, queries}, "inputs: expected the 4 inputs"},
      {{{49, 256}, {80, 256}, {49, 256}, {80, 256}}, "q_x: expected (batch, tokens, heads * dim), got (49, 256)"},
      {{{2, 4, 49, 64}, {80, 256}, {2, 4, 49, 64}, {80, 256}}, "q_x: expected (batch, tokens, heads * dim)"},
      {{{2, 49, 254}, {80, 254}, {2, 49, 254}, {80, 254}}, "q_x: expected a last axis that 4 heads can share"},
      {{queries, {80, 256}, {2, 48, 256}, {80, 256}}, "v_x: expected the shape of q_x, (?, 49, 256), got (2, 48, 256)"},
      {{queries, {80, 128}, queries, {80, 256}}, "k_t: expected (?, ?, 256), (1, ?, 256) or (?, 256), got (80, 128)"},
      {{queries, {256}, queries, {80, 256}}, "k_t: expected"},
      {{queries, {80, 256}, queries, {81, 256}},
       "v_t: expected (?, 80, 256), (1, 80, 256) or (80, 256), got (81, 256)"},
      {{{2, 49, 256}, {3, 80, 256}, {2, 49, 256}, {80, 256}}, "k_t: expected (2, ?, 256)"},
  };
  for (const auto& [shapes, message] : refused) expect_begins(layer.output_axes(span(shapes), &axes), message);

  const TagHeadLayer head = tag_head(1, 1);
  const Shape x{kUnknown, 49, 64};
  expect(head.output_axes(span({x, {kUnknown, 80, 64}, {80}}), &axes).empty(), "a tag head");
  expect(shape_text(axes[0]) == "0.0 1.1 " && shape_text(axes[1]) == "0.0 0.1 1.1 ", shape_text(axes[1]));
  expect_begins(head.output_axes(span({{49, 64}, {80, 64}, {80}}), &axes), "x: expected (batch, tokens, width)");
  expect_begins(head.output_axes(span({x, {80, 32}, {80}}), &axes), "t: expected (?, ?, 64)");
  expect_begins(head.output_axes(span({x, {80, 64}, {79}}), &axes), "bias: expected (80), got (79)");
  expect_begins(head.output_axes(span({x, {80, 64}, {80}, {64}, {64}, {64}, {32}}), &axes), "t_bias: expected (64)");
}

void check_profiles() {
  const AttentionLayer layer = attention(2);
  const auto with = [](std::int64_t batch, std::int64_t tokens, std::int64_t labels, std::int64_t width = 128) {
    return Shapes{{batch, tokens, width}, {labels, width}, {batch, tokens, width}, {labels, width}};
  };
  expect(configured(layer, with(1, 49, 80), with(8, 49, 80)).empty(), "the batch may change");
  expect_begins(configured(layer, with(1, 49, 80), with(1, 50, 80)), "q_x: expected a profile in which only the batch");
  expect_begins(configured(layer, with(1, 49, 80), with(1, 49, 81)), "k_t: expected a profile in which only the batch");
  expect_begins(configured(layer, with(1, 49, 80, 96), with(8, 49, 80, 96)), "dim: must be 32, 64, 96 or 128");
  const std::int64_t too_many = (std::int64_t{1} << 20) + 1;
  expect_begins(configured(layer, with(1, 49, too_many), with(1, 49, too_many)), "labels: must be between 1 and 2^20");
  expect_begins(configured(layer, with(1, 49, 80), with(too_many, 49, 80)), "batch: must be between 1 and 2^20");
  expect_begins(configured(layer, with(kUnknown, 49, 80), with(kUnknown, 49, 80)), "batch: must be between");
  const TagHeadLayer head = tag_head(1, 1);
  expect_begins(configured(head, {{1, 49, 4}, {9, 4}, {9}}, {{1, 49, 4}, {9, 4}, {9}}), "width: ");
  expect_begins(configured(head, {{1, 49, 64}, {0, 64}, {0}}, {{1, 49, 64}, {0, 64}, {0}}), "labels: ");
}

}  // namespace

int main() {
  check_types();
  check_shapes();
  check_profiles();
  if (failures == 0) std::printf("ok\n");
  return failures != 0;
}
