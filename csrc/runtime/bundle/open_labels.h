// The labels of an open plan as inputs of its network. The counterpart of pvlr_sdk/bundle/open_labels.py.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "label_bank.h"
#include "manifest.h"

namespace pvlr::runtime {

using LabelInputs = std::map<std::string, std::vector<float>>;  // by name

// The shapes of the inputs, by name.
std::map<std::string, std::vector<std::size_t>> label_shapes(const OpenSpec& spec);

// The inputs for a label bank, padded to the room that the network has; `source` names the bank in errors. Throws Error
// (PVLR_ERROR_INVALID_BUNDLE) if the bank has too many labels, or was made or taught for another model.
LabelInputs label_inputs(const LabelBank& bank, const OpenSpec& spec, const std::string& source);

// For each label of a bank its row in the plan's own bank, if its name is there and its scores depend on the same; both
// banks fit the plan. The counterpart of pvlr_sdk/bundle/fingerprints.py.
std::vector<std::optional<std::size_t>> same_labels(const LabelBank& own, const LabelBank& bank, const OpenSpec& spec);

}  // namespace pvlr::runtime
