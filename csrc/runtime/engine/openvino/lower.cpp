#include "lower.h"

#include <openvino/op/convert.hpp>
#include <openvino/op/util/op_types.hpp>
#include <optional>
#include <string_view>
#include <unordered_set>

namespace pvlr::runtime {
namespace {

using Nodes = std::unordered_set<const ov::Node*>;

bool is_heavy(const ov::Node& node) {
  const std::string_view type = node.get_type_name();
  return type == "Convolution" || type == "GroupConvolution" || type == "MatMul";
}

const ov::Node* source_of(const ov::Input<ov::Node>& input) { return input.get_source_output().get_node(); }

std::optional<ov::Output<ov::Node>> find_tensor(const ov::NodeVector& nodes, const std::string& name) {
  for (const auto& node : nodes) {
    for (const auto& output : node->outputs()) {
      if (output.get_names().count(name) != 0) return output;
    }
  }
  return {};
}

// The nodes that read a tensor, and all that depend on them.
Nodes nodes_behind(const ov::NodeVector& nodes, const ov::Output<ov::Node>& tensor) {
  Nodes behind;
  for (const auto& target : tensor.get_target_inputs()) behind.insert(target.get_node());
  for (const auto& node : nodes) {
    for (const auto& input : node->inputs()) {
      if (behind.count(source_of(input)) != 0) behind.insert(node.get());
    }
  }
  return behind;
}

// The nodes that a heavy one depends on, and the heavy ones themselves.
Nodes nodes_before_last_heavy(const ov::NodeVector& nodes) {
  Nodes before;
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    if (!is_heavy(**node) && before.count(node->get()) == 0) continue;
    before.insert(node->get());
    for (const auto& input : (*node)->inputs()) before.insert(source_of(input));
  }
  return before;
}

void convert_input(ov::Input<ov::Node>& input, const ov::element::Type& type) {
  ov::Output<ov::Node> source = input.get_source_output();
  ov::Output<ov::Node> converted = std::make_shared<ov::op::v0::Convert>(source, type)->output(0);
  if (ov::op::util::is_output(input.get_node())) {  // an output of the network keeps its name
    const std::unordered_set<std::string> names = source.get_names();
    source.set_names({});
    converted.set_names(names);
  }
  input.replace_source_output(converted);
}

}  // namespace

bool lower_to_bf16(ov::Model& model, const std::string& start) {
  const ov::NodeVector nodes = model.get_ordered_ops();
  const auto begin = find_tensor(nodes, start);
  if (!begin) return false;
  const Nodes behind = nodes_behind(nodes, *begin);
  const Nodes before = nodes_before_last_heavy(nodes);
  const auto is_low = [&](const ov::Node* node) { return behind.count(node) != 0 && before.count(node) != 0; };
  for (const auto& node : nodes) {
    const bool low = is_low(node.get());
    for (ov::Input<ov::Node> input : node->inputs()) {
      const bool is_float = input.get_source_output().get_element_type() == ov::element::f32;
      if (is_float && low != is_low(source_of(input))) convert_input(input, low ? ov::element::bf16 : ov::element::f32);
    }
  }
  model.validate_nodes_and_infer_types();
  return true;
}

}  // namespace pvlr::runtime
