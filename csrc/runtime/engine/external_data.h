// Refuses networks whose tensors are elsewhere.
#pragma once

#include <string>

namespace pvlr::runtime {

// Walks an ONNX network that is given as bytes. A tensor in it may name a file, or an address in memory, that has its
// values: an engine would read them. Refused with them is where the exporter puts no tensors: subgraphs, functions,
// sparse tensors. Throws Error (PVLR_ERROR_INVALID_BUNDLE); `source` names the plan in it.
void refuse_external_data(const std::string& network, const std::string& source);

}  // namespace pvlr::runtime
