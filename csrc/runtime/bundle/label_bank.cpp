#include "label_bank.h"

#include <cstdint>
#include <cstring>

#include "json_object.h"
#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

std::vector<std::string> parse_names(const std::string& text, const std::string& source) {
  try {
    return parse_json(text, source).get<std::vector<std::string>>();
  } catch (const Json::exception&) {
    fail(PVLR_ERROR_INVALID_BUNDLE, source, "a list of names", "something else");
  }
}

// A tensor of `count` float32; `data` are those of all tensors.
std::vector<float> read_floats(JsonObject tensor, std::size_t count, const std::string& data) {
  const auto size = static_cast<double>(data.size());
  const std::vector<double> ends = tensor.numbers("data_offsets", 2, 0, size);
  if (tensor.text("dtype") != "F32" || ends[1] - ends[0] != static_cast<double>(count * sizeof(float))) {
    tensor.fail("data_offsets", "one float32 for each label", "something else");
  }
  std::vector<float> values(count);
  std::memcpy(values.data(), data.data() + static_cast<std::size_t>(ends[0]), count * sizeof(float));
  return values;
}

}  // namespace

// A safetensors file begins with the length of its header (64 bits, little-endian) and the header, a JSON object. Texts
// are in its member __metadata__; the names are a JSON list in one of these.
LabelBank read_label_bank(const std::string& data, const std::string& source) {
  constexpr std::size_t kPrefix = 8;
  if (data.size() < kPrefix) fail(PVLR_ERROR_INVALID_BUNDLE, source, "a safetensors file", "one without a header");
  std::uint64_t length = 0;
  for (std::size_t i = kPrefix; i-- > 0;) length = length << 8U | static_cast<unsigned char>(data[i]);
  if (length > data.size() - kPrefix) fail(PVLR_ERROR_INVALID_BUNDLE, source, "a header", "one beyond the end");

  const Json header = parse_json(data.substr(kPrefix, length), source);
  JsonObject object(header, source);
  const std::string tensors = data.substr(kPrefix + length);
  LabelBank bank{parse_names(object.object("__metadata__").text("names"), source + ".names"), {}, {}};
  bank.thresholds = read_floats(object.object("thresholds"), bank.names.size(), tensors);
  bank.precise_thresholds = object.has("precise_thresholds")
                                ? read_floats(object.object("precise_thresholds"), bank.names.size(), tensors)
                                : bank.thresholds;
  return bank;
}

}  // namespace pvlr::runtime
