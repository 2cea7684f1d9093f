// Changes of an OpenVINO graph before it is compiled.
#include <algorithm>
#include <openvino/op/convert.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/util/op_types.hpp>
#include <openvino/pass/constant_folding.hpp>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "network.h"

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

// How integers become float32 in DequantizeLinear.
bool is_scaling(const ov::Node& node) {
  const std::string_view type = node.get_type_name();
  return type == "Convert" || type == "Subtract" || type == "Multiply";
}

// What an input of a node is before it is converted and scaled to float.
std::shared_ptr<ov::Node> unscaled(const ov::Node& node, std::size_t input) {
  std::shared_ptr<ov::Node> source = node.get_input_node_shared_ptr(input);
  while (is_scaling(*source) || std::string_view(source->get_type_name()) == "Reshape") {
    source = source->get_input_node_shared_ptr(0);
  }
  return source;
}

void replace_output(const ov::Output<ov::Node>& output, const ov::Output<ov::Node>& other) {
  for (ov::Input<ov::Node> target : output.get_target_inputs()) target.replace_source_output(other);
}

}  // namespace

void remove_ranges(const ov::Model& model) {
  for (const auto& node : model.get_ordered_ops()) {
    if (std::string_view(node->get_type_name()) != "FakeQuantize") continue;
    std::shared_ptr<ov::Node> last = node;
    do {
      const auto readers = last->output(0).get_target_inputs();
      last = readers.size() == 1 ? readers.begin()->get_node()->shared_from_this() : nullptr;
    } while (last && is_scaling(*last) && std::string_view(last->get_type_name()) != "Multiply");
    if (last && is_scaling(*last)) replace_output(last->output(0), node->input_value(0));
  }
}

void fold_constants(const std::shared_ptr<ov::Model>& model, bool quantized) {
  std::vector<std::pair<std::shared_ptr<ov::Node>, std::shared_ptr<ov::op::v0::Parameter>>> kept;
  for (const auto& node : quantized ? model->get_ordered_ops() : ov::NodeVector{}) {
    if (!is_heavy(*node) || std::string_view(unscaled(*node, 0)->get_type_name()) != "FakeQuantize") continue;
    const auto constant = unscaled(*node, 1);
    if (std::string_view(constant->get_type_name()) != "Constant") continue;
    const auto stand_in =
        std::make_shared<ov::op::v0::Parameter>(constant->get_output_element_type(0), constant->get_output_shape(0));
    replace_output(constant->output(0), stand_in->output(0));
    model->add_parameters({stand_in});
    kept.emplace_back(constant, stand_in);
  }
  ov::pass::ConstantFolding().run_on_model(model);
  for (const auto& [constant, stand_in] : kept) {
    replace_output(stand_in->output(0), constant->output(0));
    model->remove_parameter(stand_in);
  }
}

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

std::shared_ptr<ov::Model> with_packed_pixels(const std::shared_ptr<ov::Model>& model) {
  ov::preprocess::PrePostProcessor wrapper(model);
  wrapper.input(kImage).tensor().set_layout("NHWC");
  wrapper.input(kImage).model().set_layout("NCHW");
  return wrapper.build();
}

}  // namespace pvlr::runtime
