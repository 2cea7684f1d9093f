#include "label_bank.h"

#include <cstdint>

#include "json_object.h"
#include "runtime/error.h"

namespace pvlr::runtime {

// A safetensors file begins with the length of its header (64 bits, little-endian) and the header, a JSON object. Texts
// are in its member __metadata__; the names are a JSON list in one of these.
std::vector<std::string> read_label_names(const std::string& data, const std::string& source) {
  constexpr std::size_t kPrefix = 8;
  if (data.size() < kPrefix) fail(PVLR_ERROR_INVALID_BUNDLE, source, "a safetensors file", "one without a header");
  std::uint64_t length = 0;
  for (std::size_t i = kPrefix; i-- > 0;) length = length << 8U | static_cast<unsigned char>(data[i]);
  if (length > data.size() - kPrefix) fail(PVLR_ERROR_INVALID_BUNDLE, source, "a header", "one beyond the end");

  const Json header = parse_json(data.substr(kPrefix, length), source);
  const std::string text = JsonObject(header, source).object("__metadata__").text("names");
  const Json names = parse_json(text, source + ".names");
  try {
    return names.get<std::vector<std::string>>();
  } catch (const Json::exception&) {
    fail(PVLR_ERROR_INVALID_BUNDLE, source + ".names", "a list of names", "something else");
  }
}

}  // namespace pvlr::runtime
