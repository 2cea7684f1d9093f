#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <map>
#include <utility>

#include "protobuf.h"
#include "pvlr/network.h"

namespace pvlr {
namespace network {
namespace {

using Integers = std::vector<std::int64_t>;

constexpr std::size_t kMaxBytes = std::size_t{1} << 30;  // the largest that the exporter was tried with has 172 MB
constexpr std::size_t kMaxNodes = 4096;       // that one has 1,407, before quantisation; OpenVINO takes 20 s for 4,000
constexpr std::int64_t kMaxFields = 1 << 20;  // that one has 15,000
constexpr std::int64_t kMaxAttribute = 1 << 20;  // integers there are axes, paddings, strides and sizes in pixels
constexpr std::size_t kMaxRank = 8;

struct Domain {
  std::string_view name;
  std::uint64_t oldest, newest;  // versions
  std::initializer_list<std::string_view> operators;
};
constexpr Domain kDomains[] = {
#include "operators.inc"
};

// Operators with an input that gives the size of the output.
constexpr std::pair<std::string_view, std::size_t> kShapeInputs[] = {
    {"ConstantOfShape", 0}, {"Expand", 1}, {"Pad", 1}, {"Range", 1}, {"Reshape", 1}, {"Resize", 3}, {"Tile", 1}};

// Bytes of an element, by TensorProto.DataType: float, uint8, int8, int32, int64, bool, float16, double, bfloat16.
constexpr std::size_t kItemBytes[] = {0, 4, 1, 1, 0, 0, 4, 8, 0, 1, 2, 8, 0, 0, 0, 0, 2};
constexpr std::uint64_t kInt64 = 7;

// Field numbers as in onnx.proto. Left out, and so refused: training_info and functions of a model, sparse initializers
// and quantization annotations of a graph, references, subgraphs, sparse tensors and types in attributes, segments,
// strings and external data of a tensor, types of inputs other than tensors. No message contains one of its own kind.
constexpr Message kEntry{"StringStringEntry", {0, numbers(1, 2)}, {}};
constexpr Message kOpset{"OperatorSetId", {numbers(2), numbers(1)}, {}};
constexpr Message kModel{"Model", {numbers(1, 5), numbers(2, 3, 4, 6, 7)}, {0, numbers(8, 14)}};
constexpr Message kGraph{"Graph", {0, numbers(2, 10)}, {0, numbers(1, 5, 11, 12, 13, 16)}};
constexpr Message kNode{"Node", {0, numbers(3, 4, 6, 7)}, {0, numbers(1, 2, 5, 9)}};
constexpr Message kAttribute{
    "Attribute", {numbers(3, 20), numbers(1, 4, 5, 13), numbers(2)}, {numbers(8), numbers(7, 8, 9), numbers(7)}};
constexpr Message kTensor{
    "Tensor", {numbers(2, 14), numbers(8, 9, 12)}, {numbers(1, 5, 7), numbers(1, 4, 5, 7), numbers(4)}};
constexpr Message kValue{"ValueInfo", {0, numbers(1, 2, 3)}, {0, numbers(4)}};
constexpr Message kType{"Type", {0, numbers(1)}, {}};
constexpr Message kTensorType{"Type.Tensor", {numbers(1), numbers(2)}, {}};
constexpr Message kShape{"TensorShape", {}, {0, numbers(1)}};
constexpr Message kDimension{"Dimension", {numbers(1), numbers(2, 3)}, {}};

[[noreturn]] void refuse(std::string got) { throw Refused{std::move(got)}; }

std::string shown(const Integers& dims) {
  std::string text;
  for (std::size_t i = 0; i < std::min(dims.size(), kMaxRank + 1); ++i) {
    text += (i == 0 ? "[" : ", ") + std::to_string(dims[i]);
  }
  return dims.empty() ? "[]" : text + "]";
}

std::string quoted(std::string_view text) {
  std::string shown = "'";
  for (const char c : text.substr(0, 64)) shown += c >= ' ' && c <= '~' ? c : '?';
  return shown + "'";
}

void check_size(const std::string& what, const Integers& dims) {
  // Reshape copies a dimension of 0 from its input and computes one of -1.
  std::int64_t count = 1;
  bool fits = dims.size() <= kMaxRank;
  for (const std::int64_t side : dims) {
    fits = fits && side <= kMaxNetworkElements / count;
    if (fits && side > 1) count *= side;
  }
  if (!fits) {
    refuse(what + " " + shown(dims) + ", more than " + std::to_string(kMaxRank) + " dimensions or " +
           std::to_string(kMaxNetworkElements) + " elements");
  }
}

std::size_t count_floats(const Field& field) {
  if (field.bytes.size() % 4 != 0) refuse("a list of floats that ends early");
  return field.bytes.size() / 4;
}

class Walk {
 public:
  explicit Walk(std::string_view data) : data_(data), reader_(data, kMaxFields) {}

  void model() {
    if (data_.size() > kMaxBytes) {
      refuse(std::to_string(data_.size()) + " bytes, more than " + std::to_string(kMaxBytes));
    }
    std::optional<std::string_view> graph_bytes;
    bool has_domain = false;
    reader_.read(kModel, data_, [&](const Field& field) {
      if (field.number == 7) graph_bytes = field.bytes;
      if (field.number == 8) {
        domain(field.bytes);
        has_domain = true;
      }
      if (field.number == 14) entry(field.bytes);
    });
    if (!graph_bytes || !has_domain) throw Incomplete{};
    graph(*graph_bytes);
  }

 private:
  void domain(std::string_view bytes) {
    std::string_view name;
    std::uint64_t version = 0;
    reader_.read(kOpset, bytes, [&](const Field& field) {
      if (field.number == 1) name = field.bytes;
      if (field.number == 2) version = field.value;
    });
    for (const Domain& known : kDomains) {
      if (known.name == name && known.oldest <= version && version <= known.newest) return;
    }
    refuse("version " + std::to_string(version) + " of the operators of domain " + quoted(name));
  }

  void graph(std::string_view bytes) {
    std::vector<std::string_view> nodes;
    reader_.read(kGraph, bytes, [&](const Field& field) {
      if (field.number == 1) nodes.push_back(field.bytes);
      if (field.number == 5) {
        std::string_view name;
        if (auto values = tensor(field.bytes, &name)) shapes_[name] = std::move(*values);
      }
      if (field.number >= 11 && field.number <= 13) value(field.bytes);
      if (field.number == 16) entry(field.bytes);
    });
    if (nodes.size() > kMaxNodes) {
      refuse(std::to_string(nodes.size()) + " nodes, more than " + std::to_string(kMaxNodes));
    }
    for (const std::string_view bytes_of_node : nodes) node(bytes_of_node);
  }

  void node(std::string_view bytes) {
    std::vector<std::string_view> inputs;
    std::optional<std::string_view> output;
    std::string_view name, domain_name;
    std::optional<Integers> values;
    reader_.read(kNode, bytes, [&](const Field& field) {
      if (field.number == 1) inputs.push_back(field.bytes);
      if (field.number == 2 && !output) output = field.bytes;
      if (field.number == 4) name = field.bytes;
      if (field.number == 5) values = attribute(field.bytes);
      if (field.number == 7) domain_name = field.bytes;
      if (field.number == 9) entry(field.bytes);
    });
    const bool known = std::any_of(std::begin(kDomains), std::end(kDomains), [&](const Domain& domain) {
      const auto& all = domain.operators;
      return domain.name == domain_name && std::find(all.begin(), all.end(), name) != all.end();
    });
    if (!known) refuse("the operator " + quoted(name) + " of domain " + quoted(domain_name));
    if (name == "Constant" && values && output) shapes_[*output] = std::move(*values);
    for (const auto& [shaped, input] : kShapeInputs) {
      if (name != shaped || input >= inputs.size()) continue;
      const auto shape = shapes_.find(inputs[input]);
      if (shape != shapes_.end()) check_size(std::string(name) + " to shape", shape->second);
    }
  }

  // Returns the integers of an attribute, or of its tensor.
  std::optional<Integers> attribute(std::string_view bytes) {
    std::optional<Integers> values;
    reader_.read(kAttribute, bytes, [&](const Field& field) {
      std::string_view name;
      if (field.number == 5) values = tensor(field.bytes, &name);
      if (field.number == 7) count_floats(field);
      if (field.number != 3 && field.number != 8) return;
      if (!values) values.emplace();
      const std::size_t before = values->size();
      reader_.integers(field, &*values);
      for (std::size_t i = before; i < values->size(); ++i) {
        const std::int64_t found = (*values)[i];
        if (found < -kMaxAttribute || found > kMaxAttribute) refuse("an attribute of " + std::to_string(found));
      }
    });
    return values;
  }

  // Checks that all values of a constant are in the file; returns its integers if they may be a shape.
  std::optional<Integers> tensor(std::string_view bytes, std::string_view* name) {
    Integers dims, values;
    std::uint64_t type = 0;
    std::size_t floats = 0;
    std::optional<std::string_view> raw;
    reader_.read(kTensor, bytes, [&](const Field& field) {
      if (field.number == 1) reader_.integers(field, &dims);
      if (field.number == 2) type = field.value;
      if (field.number == 4) floats += count_floats(field);
      if (field.number == 5 || field.number == 7) reader_.integers(field, &values);
      if (field.number == 8) *name = field.bytes;
      if (field.number == 9) raw = field.bytes;
      if (field.number == 14 && field.value != 0) refuse("a constant whose values are outside of the network");
    });
    const std::size_t item = type < std::size(kItemBytes) ? kItemBytes[type] : 0;
    if (item == 0) refuse("a constant of data type " + std::to_string(type));
    check_size("a constant of shape", dims);
    std::int64_t count = 1;
    for (const std::int64_t side : dims) count *= std::max<std::int64_t>(side, 0);
    const std::size_t listed = floats + values.size();
    const bool negative = std::any_of(dims.begin(), dims.end(), [](std::int64_t side) { return side < 0; });
    if (negative || (raw && listed != 0) ||
        static_cast<std::size_t>(count) * item != (raw ? raw->size() : listed * item)) {
      refuse("a constant of shape " + shown(dims) + " without exactly " + std::to_string(count) + " values");
    }
    if (type != kInt64 || static_cast<std::size_t>(count) > kMaxRank) return std::nullopt;
    if (raw) {
      values.resize(static_cast<std::size_t>(count));
      std::copy_n(raw->data(), raw->size(), reinterpret_cast<char*>(values.data()));
    }
    return values;
  }

  // Checks the type of a tensor between nodes, of an input or of an output: its size is within the limits.
  void value(std::string_view bytes) {
    Integers dims;
    reader_.read(kValue, bytes, [&](const Field& field) {
      if (field.number == 4) entry(field.bytes);
      if (field.number == 2) reader_.read(kType, field.bytes, [&](const Field& tensor) { shape(tensor.bytes, &dims); });
    });
    check_size("a tensor of shape", dims);
  }

  void shape(std::string_view tensor_type, Integers* dims) {
    reader_.read(kTensorType, tensor_type, [&](const Field& part) {
      if (part.number != 2) return;
      reader_.read(kShape, part.bytes, [&](const Field& dimension) {
        reader_.read(kDimension, dimension.bytes, [&](const Field& side) {
          if (side.number == 1) reader_.integers(side, dims);
        });
      });
    });
  }

  // Metadata.
  void entry(std::string_view bytes) {
    reader_.read(kEntry, bytes, [](const Field&) {});
  }

  std::string_view data_;
  Reader reader_;
  std::map<std::string_view, Integers> shapes_;  // the constants that may be a shape
};

}  // namespace
}  // namespace network

std::optional<NetworkRefusal> check_network(std::string_view network) {
  try {
    // Every serialised network begins with the IR version, field 1.
    if (network.empty() || network.front() != '\x08') throw network::Incomplete{};
    network::Walk(network).model();
    return std::nullopt;
  } catch (const network::Incomplete&) {
    return NetworkRefusal{false, "an ONNX network", "other or incomplete data"};
  } catch (const network::Refused& refused) {
    return NetworkRefusal{true, "an ONNX network as pvlr export writes it, with its weights inside", refused.got};
  }
}

}  // namespace pvlr
