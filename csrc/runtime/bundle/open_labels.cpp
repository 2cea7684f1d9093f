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

std::vector<float> row_of(const LabelInputs& inputs, const char* name, std::size_t label, std::size_t width) {
  const auto begin = inputs.at(name).begin() + static_cast<long>(label * width);
  return {begin, begin + static_cast<long>(width)};
}

// The embeddings of all labels with words, in one order: each of these labels attends to all of them.
std::vector<std::vector<float>> worded_rows(const LabelInputs& inputs, const OpenSpec& spec) {
  std::vector<std::vector<float>> rows;
  for (std::size_t i = 0; i < spec.max_labels; ++i) {
    if (inputs.at(kMask)[i] != 0) rows.push_back(row_of(inputs, kLabels, i, spec.width));
  }
  std::sort(rows.begin(), rows.end());
  return rows;
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

std::vector<std::optional<std::size_t>> same_labels(const LabelBank& own, const LabelBank& bank, const OpenSpec& spec) {
  const LabelInputs before = label_inputs(own, spec, "");
  const LabelInputs after = label_inputs(bank, spec, "");
  const bool same_words = worded_rows(before, spec) == worded_rows(after, spec);
  const auto same = [&](const char* name, std::size_t first, std::size_t second, std::size_t width) {
    return row_of(before, name, first, width) == row_of(after, name, second, width);
  };
  std::vector<std::optional<std::size_t>> rows;
  for (std::size_t label = 0; label < bank.names.size(); ++label) {
    rows.emplace_back();
    const auto found = std::find(own.names.begin(), own.names.end(), bank.names[label]);
    if (found == own.names.end()) continue;
    const auto row = static_cast<std::size_t>(found - own.names.begin());
    const bool uses_words = after.at(kGains)[label] != 0;
    if (same(kLabels, row, label, spec.width) && same(kBiases, row, label, 1) && same(kGains, row, label, 1) &&
        same(kWeights, row, label, spec.feature_width) && (same_words || !uses_words)) {
      rows.back() = row;
    }
  }
  return rows;
}

}  // namespace pvlr::runtime
