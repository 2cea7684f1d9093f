// Layers with settings, and their tensors' shapes, as the tests of the plugin's logic use them.
#pragma once

#include <cstdint>
#include <vector>

#include "launchers.h"
#include "plugin/attention_layer.h"
#include "plugin/tag_head_layer.h"

using namespace pvlr::plugin;
using Shapes = std::vector<Shape>;

constexpr ElementType kFloat = ElementType::kFloat32;

inline Span<Shape> span(const Shapes& shapes) { return {shapes.data(), static_cast<int>(shapes.size())}; }

inline AttentionLayer attention(std::int32_t heads) {
  AttentionLayer layer;
  *std::get<std::int32_t*>(layer.settings()[0].value) = heads;
  return layer;
}

inline TagHeadLayer tag_head(float scale, float alpha) {
  TagHeadLayer layer;
  *std::get<float*>(layer.settings()[0].value) = scale;
  *std::get<float*>(layer.settings()[1].value) = alpha;
  return layer;
}

// Configures the layer for the shapes of a profile's smallest and largest batch.
inline Problem configured(const Layer& layer, const Shapes& smallest, const Shapes& largest, ElementType type = kFloat,
                          std::size_t* bytes = nullptr) {
  std::vector<ShapeRange> ranges;
  for (std::size_t i = 0; i < smallest.size(); ++i) ranges.push_back({smallest[i], largest[i]});
  std::size_t unused = 0;
  return configure(layer, {ranges.data(), static_cast<int>(ranges.size())}, type, bytes ? bytes : &unused);
}
