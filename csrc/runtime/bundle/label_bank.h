// The label bank (engine.labels.safetensors). In a closed plan its vectors are part of the network, so they are checked
// only: a bank that Tagger refuses is refused here.
#pragma once

#include <string>
#include <vector>

namespace pvlr::runtime {

struct LabelBank {
  std::vector<std::string> names;
  std::vector<float> thresholds;
  std::vector<float> precise_thresholds;  // the thresholds, if the file has none
};

// A bank's file; `source` names it in errors. Throws Error (PVLR_ERROR_INVALID_BUNDLE).
LabelBank read_label_bank(const std::string& data, const std::string& source);

// Whether a bundle can have a label of this name, a printable text: 1 to 1000 characters.
bool is_label(const std::string& name);

}  // namespace pvlr::runtime
