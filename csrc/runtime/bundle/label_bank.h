// The label bank (engine.labels.safetensors). A closed plan reads its names and thresholds only: its vectors are part
// of the network. A bank that Tagger refuses is refused here.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace pvlr::runtime {

struct LabelBank {
  std::string sha256;  // of the file
  std::vector<std::string> names;
  std::vector<float> thresholds;
  std::vector<float> precise_thresholds;      // the thresholds, if the file has none
  std::string space;                          // names the open plans that can use it; empty: none can
  std::string features;                       // names the features on which its labels were taught
  std::vector<float> embeddings;              // (C, width)
  std::vector<float> biases;                  // (C,); empty: zeros
  std::vector<float> gains;                   // (C,); empty: 1 for labels with words
  std::optional<std::vector<float>> weights;  // (C, width of the features); none: zeros

  std::size_t width(const std::vector<float>& rows) const { return rows.size() / names.size(); }
};

// A bank's file; `source` names it in errors. Throws Error (PVLR_ERROR_INVALID_BUNDLE).
LabelBank read_label_bank(const std::string& data, const std::string& source);

// Whether a bundle can have a label of this name, a printable text: 1 to `most` characters.
bool is_label(const std::string& name, std::ptrdiff_t most = 1000);

}  // namespace pvlr::runtime
