// The label bank (engine.labels.safetensors). In a closed plan its vectors are part of the network, so only the names
// are read.
#pragma once

#include <string>
#include <vector>

namespace pvlr::runtime {

// The label names in a bank's file; `source` names it in errors. Throws Error (PVLR_ERROR_INVALID_BUNDLE).
std::vector<std::string> read_label_names(const std::string& data, const std::string& source);

}  // namespace pvlr::runtime
