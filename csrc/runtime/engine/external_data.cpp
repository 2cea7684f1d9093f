#include "external_data.h"

#include <cstdint>
#include <string_view>

#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

// The messages of onnx.proto on the way to a tensor.
enum class Message { kNone, kModel, kGraph, kNode, kAttribute, kTensor, kRefused };

Message message_in(Message outer, std::uint64_t field) {
  switch (outer) {
    case Message::kModel:  // 20: training_info, 25: functions
      return field == 7 ? Message::kGraph : field == 20 || field == 25 ? Message::kRefused : Message::kNone;
    case Message::kGraph:  // 15: sparse_initializer
      return field == 1    ? Message::kNode
             : field == 5  ? Message::kTensor
             : field == 15 ? Message::kRefused
                           : Message::kNone;
    case Message::kNode:
      return field == 5 ? Message::kAttribute : Message::kNone;
    case Message::kAttribute:
      if (field == 5 || field == 10) return Message::kTensor;
      // 6: g, 11: graphs, 22: sparse_tensor, 23: sparse_tensors
      return field == 6 || field == 11 || field == 22 || field == 23 ? Message::kRefused : Message::kNone;
    case Message::kTensor:  // 13: external_data, 14: data_location
      return field == 13 || field == 14 ? Message::kRefused : Message::kNone;
    default:
      return Message::kNone;
  }
}

class Walk {
 public:
  explicit Walk(const std::string& source) : source_(source) {}

  void message(std::string_view bytes, Message kind) const {
    while (!bytes.empty()) {
      const std::uint64_t tag = varint(bytes);
      const Message inner = message_in(kind, tag >> 3U);
      if (inner == Message::kRefused) refuse("external data, a subgraph, a function or a sparse tensor");
      const std::string_view contents = value(bytes, tag & 7U);
      if (inner != Message::kNone) message(contents, inner);
    }
  }

 private:
  // Takes a field's value; the contents of one with a length.
  std::string_view value(std::string_view& bytes, std::uint64_t type) const {
    switch (type) {
      case 0:
        varint(bytes);
        return {};
      case 1:
        take(bytes, 8);
        return {};
      case 2:
        return take(bytes, varint(bytes));
      case 5:
        take(bytes, 4);
        return {};
      default:
        refuse("bytes that are not ONNX");
    }
  }

  std::uint64_t varint(std::string_view& bytes) const {
    std::uint64_t result = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(bytes, 1)[0]);
      result |= std::uint64_t{byte & 0x7FU} << shift;
      if ((byte & 0x80U) == 0) return result;
    }
    refuse("bytes that are not ONNX");
  }

  std::string_view take(std::string_view& bytes, std::uint64_t count) const {
    if (count > bytes.size()) refuse("bytes that are not ONNX");
    const std::string_view taken = bytes.substr(0, count);
    bytes.remove_prefix(count);
    return taken;
  }

  [[noreturn]] void refuse(const std::string& got) const {
    fail(PVLR_ERROR_INVALID_BUNDLE, source_, "an ONNX network with its weights inside", got);
  }

  const std::string& source_;
};

}  // namespace

void refuse_external_data(const std::string& network, const std::string& source) {
  Walk(source).message(network, Message::kModel);
}

}  // namespace pvlr::runtime
