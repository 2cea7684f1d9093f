#include <algorithm>
#include <map>
#include <unordered_set>

#include "network.h"

namespace pvlr::runtime {

std::string projection_name(std::size_t index) { return "label_projection." + std::to_string(index); }

SplitModel split_labels(const ov::Model& model) {
  std::unordered_set<const ov::Node*> of_image;
  std::unordered_set<const ov::Node*> of_labels;
  ov::ParameterVector images;
  ov::ParameterVector labels;
  for (const auto& input : model.get_parameters()) {
    const bool image = input->output(0).get_names().count(kImage) != 0;
    (image ? images : labels).push_back(input);
    (image ? of_image : of_labels).insert(input.get());
  }
  const ov::NodeVector nodes = model.get_ordered_ops();
  for (const auto& node : nodes) {
    const auto reads = [&node](const std::unordered_set<const ov::Node*>& part) {
      const ov::OutputVector sources = node->input_values();
      return std::any_of(sources.begin(), sources.end(),
                         [&part](const auto& source) { return part.count(source.get_node()) != 0; });
    };
    if (reads(of_image)) {
      of_image.insert(node.get());
    } else if (reads(of_labels)) {
      of_labels.insert(node.get());
    }
  }
  std::map<ov::Output<ov::Node>, std::shared_ptr<ov::op::v0::Parameter>> projections;
  ov::ResultVector results;
  for (const auto& node : nodes) {
    if (of_image.count(node.get()) == 0) continue;
    for (ov::Input<ov::Node> input : node->inputs()) {
      const ov::Output<ov::Node> source = input.get_source_output();
      if (of_labels.count(source.get_node()) == 0) continue;
      auto& projection = projections[source];
      if (projection == nullptr) {
        projection = std::make_shared<ov::op::v0::Parameter>(source.get_element_type(), source.get_partial_shape());
        projection->output(0).set_names({projection_name(results.size())});
        results.push_back(std::make_shared<ov::op::v0::Result>(source));
        images.push_back(projection);
      }
      input.replace_source_output(projection->output(0));
    }
  }
  return {std::make_shared<ov::Model>(results, labels, "labels"),
          std::make_shared<ov::Model>(model.get_results(), images, "frames")};
}

}  // namespace pvlr::runtime
