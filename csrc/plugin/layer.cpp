#include "plugin/layer.h"

#include "plugin/attention_layer.h"
#include "plugin/tag_head_layer.h"

namespace pvlr::plugin {

Problem configure(const Layer& layer, Span<ShapeRange> inputs, ElementType type, std::size_t* workspace) {
  *workspace = 0;
  std::vector<Shape> smallest;
  std::vector<Shape> largest;
  for (int i = 0; i < inputs.count; ++i) {
    smallest.push_back(inputs[i].smallest);
    largest.push_back(inputs[i].largest);
  }
  std::size_t bytes = 0;
  PVLR_RETURN_IF_PROBLEM(layer.workspace({smallest.data(), inputs.count}, type, &bytes));
  for (int i = 0; i < inputs.count; ++i) {
    const auto& [from, to] = inputs[i];
    if (!same_except(from, to, to.rank == inputs[0].largest.rank ? 0 : -1)) {
      return unexpected(layer.input_name(i), "a profile in which only the batch changes, from " + text(from), to);
    }
  }
  return layer.workspace({largest.data(), inputs.count}, type, workspace);
}

Problem check_bank(const char* name, const Shape& bank, const Shape& of_each_image) {
  const Shape of_all{1, of_each_image[1], of_each_image[2]};
  const Shape without_batch{of_each_image[1], of_each_image[2]};
  for (const Shape& one : {of_each_image, of_all, without_batch}) {
    if (compatible(bank, one)) return {};
  }
  return unexpected(name, text(of_each_image) + ", " + text(of_all) + " or " + text(without_batch), bank);
}

bool same_for_all(const Shape& bank) { return bank.rank == 2 || bank[0] == 1; }

DataType data_type(ElementType type) {
  if (type == ElementType::kFloat16) return DataType::kFloat16;
  return type == ElementType::kBfloat16 ? DataType::kBfloat16 : DataType::kFloat32;
}

std::vector<std::unique_ptr<Layer>> all_layers() {
  std::vector<std::unique_ptr<Layer>> layers;
  layers.push_back(std::make_unique<AttentionLayer>());
  layers.push_back(std::make_unique<TagHeadLayer>());
  return layers;
}

}  // namespace pvlr::plugin
