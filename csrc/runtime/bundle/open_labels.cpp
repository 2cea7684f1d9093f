#include "open_labels.h"

#include <algorithm>

#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

constexpr char kLabels[] = "labels";
constexpr char kBiases[] = "label_biases";
constexpr char kMask[] = "label_mask";
constexpr char kGains[] = "label_gains";
constexpr char kWeights[] = "label_weights";

void check_fits(const LabelBank& bank, const OpenSpec& spec, const std::string& source) {
  const auto check = [&source](bool fits, const std::string& expected, const std::string& got) {
    if (!fits) fail(PVLR_ERROR_INVALID_BUNDLE, source, expected, got);
  };
  const auto check_width = [&](const char* what, const std::vector<float>& rows, std::size_t width) {
    const std::size_t got = bank.width(rows);
    check(got == width, what + (" of width " + std::to_string(width)), std::to_string(got));
  };
  const std::size_t count = bank.names.size();
  check(count <= spec.max_labels, "at most " + std::to_string(spec.max_labels) + " labels", std::to_string(count));
  check(bank.space == spec.space, "a bank made for " + spec.space, "one made for another model");
  check_width("embeddings", bank.embeddings, spec.width);
  if (!bank.weights) return;
  check(bank.features == spec.features, "labels taught on the features of " + spec.features, "on those of another");
  check_width("weights", *bank.weights, spec.feature_width);
}

}  // namespace

std::map<std::string, std::vector<std::size_t>> label_shapes(const OpenSpec& spec) {
  const std::size_t room = spec.max_labels;
  return {{kLabels, {room, spec.width}},
          {kBiases, {room}},
          {kMask, {room}},
          {kGains, {room}},
          {kWeights, {room, spec.feature_width}}};
}

LabelInputs label_inputs(const LabelBank& bank, const OpenSpec& spec, const std::string& source) {
  check_fits(bank, spec, source);
  const std::size_t room = spec.max_labels;
  const std::size_t count = bank.names.size();
  std::vector<float> mask(room);
  // In place of a label without words and of padding, a label that has some: zeros have no direction.
  const auto row = [&](std::size_t label) { return bank.embeddings.begin() + static_cast<long>(label * spec.width); };
  std::vector<float> filler(spec.width, 1);
  for (std::size_t i = count; i-- > 0;) {
    const auto end = row(i + 1);
    mask[i] = std::find_if(row(i), end, [](float value) { return value != 0; }) == end ? 0 : 1;
    if (mask[i] != 0) filler.assign(row(i), end);
  }
  std::vector<float> labels;
  for (std::size_t i = 0; i < room; ++i) {
    const bool worded = mask[i] != 0;
    labels.insert(labels.end(), worded ? row(i) : filler.begin(), worded ? row(i + 1) : filler.end());
  }
  std::vector<float> biases = bank.biases;
  std::vector<float> gains = bank.gains.empty() ? std::vector<float>(count, 1) : bank.gains;
  std::vector<float> weights = bank.weights.value_or(std::vector<float>{});
  biases.resize(room);
  gains.resize(room);
  weights.resize(room * spec.feature_width);
  for (std::size_t i = 0; i < room; ++i) gains[i] *= mask[i];
  return {{kLabels, labels}, {kBiases, biases}, {kMask, mask}, {kGains, gains}, {kWeights, weights}};
}

}  // namespace pvlr::runtime
