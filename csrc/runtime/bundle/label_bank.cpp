#include "label_bank.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "files.h"
#include "json_object.h"
#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

constexpr float kLargest = 1000;                 // of all values of a bank
constexpr std::uint64_t kMaxHeader = 100000000;  // as in the package safetensors
constexpr std::uint16_t kLargestF16 = 0x63D0;    // the same; larger numbers and NaN have larger bits

// A safetensors file begins with the length of its header (64 bits, little-endian) and the header, a JSON object:
// dtype, shape, and begin and end of the values of each tensor. The tensors follow one another without gaps up to the
// end.
class Safetensors {
 public:
  Safetensors(std::string_view data, const std::string& source) : source_(source) {
    constexpr std::size_t kPrefix = 8;
    if (data.size() < kPrefix) refuse("a safetensors file", "one without a header");
    std::uint64_t length = 0;
    for (std::size_t i = kPrefix; i-- > 0;) length = length << 8U | static_cast<unsigned char>(data[i]);
    if (length > data.size() - kPrefix) refuse("a header", "one beyond the end");
    if (length > kMaxHeader) refuse("a header of at most 100 MB", "a larger one");
    header_ = parse_json(std::string(data.substr(kPrefix, length)), source, false);
    data_ = data.substr(kPrefix + length);
    std::multiset<std::pair<std::int64_t, std::int64_t>> places;  // tensors in the same place count twice
    JsonObject object(header_, source);
    for (const auto& item : header_.items()) {
      if (item.key() == "__metadata__") continue;
      // A name from outside is not for a message.
      const bool plain = item.key().find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string::npos;
      if (!plain) refuse("tensors named in lower case", "another name");
      places.insert(place(object.object(item.key())));
    }
    std::int64_t end = 0;
    for (const auto& [begin, next] : places) {
      if (begin != end) refuse("tensors one after the other", "gaps or overlaps");
      end = next;
    }
    if (end != static_cast<std::int64_t>(data_.size())) refuse("the end of the last tensor", "more bytes");
  }

  bool has(const std::string& name) const { return header_.contains(name); }

  // A text of the metadata.
  std::string text(const std::string& name, const char* otherwise) const {
    const auto metadata = header_.find("__metadata__");
    if (metadata == header_.end() || !metadata->is_object()) refuse("__metadata__", "none");
    for (const Json& value : *metadata) {
      if (!value.is_string()) refuse("texts in __metadata__", value.type_name());
    }
    return metadata->value(name, otherwise);
  }

  // The values of a tensor with a row for each of `count` labels: a float32 each, or any number of float16.
  template <typename Value>
  std::vector<Value> read(const std::string& name, std::size_t count) const {
    constexpr bool kMatrix = sizeof(Value) == 2;
    if (!has(name)) refuse("a tensor " + name, "none");
    const Json& entry = header_[name];
    const Json& shape = entry["shape"];
    if (entry["dtype"] != (kMatrix ? "F16" : "F32") || shape.size() != (kMatrix ? 2 : 1) || shape[0] != count) {
      refuse(name + " of the type and number of the labels", "another tensor");
    }
    const auto begin = entry["data_offsets"][0].get<std::size_t>();
    std::vector<Value> values((entry["data_offsets"][1].get<std::size_t>() - begin) / sizeof(Value));
    // Not std::memcpy, which takes no null pointer: a tensor may have no values.
    std::copy_n(data_.data() + begin, values.size() * sizeof(Value), reinterpret_cast<char*>(values.data()));
    const bool bounded = std::all_of(values.begin(), values.end(), [](Value value) {
      if constexpr (kMatrix) return (value & 0x7FFFU) <= kLargestF16;
      return std::abs(static_cast<float>(value)) <= kLargest;
    });
    if (!bounded) refuse(name + " of at most 1000", "other values");
    return values;
  }

  [[noreturn]] void refuse(const std::string& expected, const std::string& got) const {
    fail(PVLR_ERROR_INVALID_BUNDLE, source_, expected, got);
  }

 private:
  // Where the values of a tensor begin and end.
  std::pair<std::int64_t, std::int64_t> place(JsonObject entry) const {
    const auto most = static_cast<std::int64_t>(data_.size());
    std::int64_t bytes = entry.choice("dtype", {"F16", "F32"}) == "F16" ? 2 : 4;
    for (const std::int64_t side : entry.sizes("shape")) {
      bytes = side != 0 && bytes > most / side ? most + 1 : bytes * side;
    }
    const std::vector<std::int64_t> ends = entry.sizes("data_offsets");
    entry.end();
    const bool fits = ends.size() == 2 && ends[0] <= most && bytes <= most - ends[0] && ends[1] == ends[0] + bytes;
    if (!fits) entry.fail("data_offsets", "the place of values of its dtype and shape", "another");
    return {ends[0], ends[1]};
  }

  const std::string& source_;
  Json header_;
  std::string_view data_;
};

// Of at most kLargest.
float from_half(std::uint16_t bits) {
  const int exponent = bits >> 10U & 31U;
  const auto mantissa = static_cast<float>(bits & 1023U);
  const float magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

std::vector<float> read_matrix(const Safetensors& file, const std::string& name, std::size_t count) {
  const std::vector<std::uint16_t> halves = file.read<std::uint16_t>(name, count);
  std::vector<float> values(halves.size());
  std::transform(halves.begin(), halves.end(), values.begin(), from_half);
  return values;
}

std::vector<std::string> parse_names(const std::string& text, const std::string& source) {
  std::set<std::string> distinct;
  std::vector<std::string> names;
  const Json json = parse_json(text, source);
  for (const Json& name : json) {
    const bool valid = json.is_array() && name.is_string() && is_label(name) && distinct.insert(name).second;
    if (!valid) fail(PVLR_ERROR_INVALID_BUNDLE, source, "a list of distinct label names", "something else");
    names.push_back(name);
  }
  if (names.empty()) fail(PVLR_ERROR_INVALID_BUNDLE, source, "a list of distinct label names", "none");
  return names;
}

}  // namespace

LabelBank read_label_bank(const std::string& data, const std::string& source) {
  const Safetensors file(data, source);
  LabelBank bank{};
  bank.sha256 = sha256(data);
  bank.names = parse_names(file.text("names", "[]"), source + ".names");
  // The provenance, of which Tagger reads three members.
  const Json text = parse_json(file.text("text", "{}"), source + ".text", false);
  JsonObject provenance(text, source + ".text");
  if (provenance.has("space") && !text["space"].is_string())
    provenance.fail("space", "a name", text["space"].type_name());
  if (provenance.has("space")) bank.space = text["space"];
  if (text.contains("features") && text["features"].is_string()) bank.features = text["features"];
  if (text.contains("taught")) {
    provenance.object("taught");
    for (const Json& taught : text["taught"]) {  // without the label: a name from outside is not for a message
      if (!taught.is_object()) provenance.fail("taught", "an object of objects", taught.type_name());
    }
  }

  const std::size_t count = bank.names.size();
  bank.thresholds = file.read<float>("thresholds", count);
  bank.precise_thresholds =
      file.has("precise_thresholds") ? file.read<float>("precise_thresholds", count) : bank.thresholds;
  for (std::size_t i = 0; i < count; ++i) {
    const float precise = bank.precise_thresholds[i];
    if (bank.thresholds[i] > 0 && precise >= bank.thresholds[i] && precise < 1) continue;
    file.refuse("thresholds between 0 and 1, and no precise one below", "others");
  }
  bank.embeddings = read_matrix(file, "embeddings", count);
  if (file.has("weights")) bank.weights = read_matrix(file, "weights", count);
  if (file.has("biases")) bank.biases = file.read<float>("biases", count);
  if (file.has("gains")) bank.gains = file.read<float>("gains", count);
  return bank;
}

bool is_label(const std::string& name, std::ptrdiff_t most) {
  const auto is_first = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
  return !name.empty() && std::count_if(name.begin(), name.end(), is_first) <= most;
}

}  // namespace pvlr::runtime
