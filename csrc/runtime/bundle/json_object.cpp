#include "json_object.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "files.h"
#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

std::string shown(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

std::string range_text(double least, double most) { return "from " + shown(least) + " to " + shown(most); }

// Of a text in valid UTF-8.
bool has_control_character(const std::string& text) {
  unsigned before = 0;  // the last two bytes
  for (const char c : text) {
    const unsigned byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || ((before & 0xFFU) == 0xC2 && byte < 0xA0)) return true;  // C0, DEL, C1
    if (before == 0xE280 && byte >= 0xAA && byte <= 0xAE) return true;  // U+202A to U+202E, which turn the text around
    if (before == 0xE281 && byte >= 0xA6 && byte <= 0xA9) return true;  // U+2066 to U+2069, which do, too
    before = (before << 8U | byte) & 0xFFFFU;
  }
  return false;
}

}  // namespace

Json parse_json(const std::string& text, const std::string& source, bool printable) {
  constexpr int kMaxDepth = 32;
  const auto refuse = [&](const char* expected, const char* got) {
    runtime::fail(PVLR_ERROR_INVALID_BUNDLE, source, expected, got);
  };
  std::vector<std::set<std::string>> objects;  // the members of each that is being read
  const auto check = [&](int depth, Json::parse_event_t event, const Json& value) {
    if (depth > kMaxDepth) refuse("at most 32 levels of JSON", "more");
    if (event == Json::parse_event_t::object_start) objects.emplace_back();
    if (event == Json::parse_event_t::object_end) objects.pop_back();
    const bool key = event == Json::parse_event_t::key;
    if (key && !objects.back().insert(value.get<std::string>()).second) refuse("distinct members", "one twice");
    const bool plain = (key || event == Json::parse_event_t::value) && value.is_string();
    if (printable && plain && has_control_character(value.get_ref<const std::string&>())) {
      refuse("texts without control characters", "one with control characters");
    }
    return true;
  };
  if (text.compare(0, 3, "\xEF\xBB\xBF") == 0) refuse("valid JSON", "a byte order mark");
  // The parser takes it for the end, whatever follows.
  if (text.find('\0') != std::string::npos) refuse("valid JSON", "a zero byte");
  try {
    return Json::parse(text, check);
  } catch (const Json::parse_error& error) {  // its message repeats bytes of the text, which may be anything
    runtime::fail(PVLR_ERROR_INVALID_BUNDLE, source, "valid JSON", "an error at byte " + std::to_string(error.byte));
  } catch (const Json::exception&) {
    runtime::fail(PVLR_ERROR_INVALID_BUNDLE, source, "valid JSON", "a number that is too large");
  }
}

JsonObject::JsonObject(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {
  if (!value.is_object()) runtime::fail(PVLR_ERROR_INVALID_BUNDLE, path_, "an object", value.type_name());
}

void JsonObject::fail(const std::string& name, const std::string& expected, const std::string& got) const {
  runtime::fail(PVLR_ERROR_INVALID_BUNDLE, path_ + "." + name, expected, got);
}

bool JsonObject::has(const std::string& name) const {
  const auto found = value_->find(name);
  return found != value_->end() && !found->is_null();
}

const Json& JsonObject::member(const std::string& name) {
  read_.insert(name);
  const auto found = value_->find(name);
  if (found == value_->end()) fail(name, "a value", "none");
  return *found;
}

const Json& JsonObject::list(const std::string& name) {
  const Json& value = member(name);
  if (!value.is_array()) fail(name, "a list", value.type_name());
  return value;
}

std::string JsonObject::text(const std::string& name) {
  const Json& value = member(name);
  if (!value.is_string()) fail(name, "a text", value.type_name());
  auto text = value.get<std::string>();
  if (text.empty()) fail(name, "a text", "an empty one");
  return text;
}

std::string JsonObject::choice(const std::string& name, const std::vector<std::string>& choices) {
  std::string value = text(name);
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
  std::string expected;
  for (const std::string& choice : choices) expected += (expected.empty() ? "" : ", ") + choice;
  fail(name, "one of " + expected, value);
}

std::string JsonObject::digest(const std::string& name) {
  std::string value = text(name);
  if (!is_digest(value)) fail(name, "64 digits in lower-case hex", "something else");
  return value;
}

bool JsonObject::flag(const std::string& name) {
  const Json& value = member(name);
  if (!value.is_boolean()) fail(name, "true or false", value.type_name());
  return value.get<bool>();
}

double JsonObject::number(const std::string& name, double least, double most) {
  const Json& value = member(name);
  if (!value.is_number()) fail(name, "a number", value.type_name());
  const auto number = value.get<double>();
  if (!(number >= least && number <= most)) fail(name, range_text(least, most), shown(number));
  return number;
}

std::int64_t JsonObject::integer(const std::string& name, std::int64_t least, std::int64_t most) {
  return integer_of(name, member(name), least, most);
}

std::vector<std::int64_t> JsonObject::sizes(const std::string& name) {
  std::vector<std::int64_t> sizes;
  for (const Json& entry : list(name)) sizes.push_back(integer_of(name, entry, 0, INT64_MAX));
  return sizes;
}

std::int64_t JsonObject::integer_of(const std::string& name, const Json& value, std::int64_t least,
                                    std::int64_t most) const {
  // A number beyond 64 bits is a float to the parser; one beyond 63 bits is unsigned.
  const bool fits =
      value.is_number_integer() && !(value.is_number_unsigned() && value.get<std::uint64_t>() >> 63U != 0);
  if (!fits) fail(name, "an integer", value.is_number() ? shown(value.get<double>()) : value.type_name());
  const auto number = value.get<std::int64_t>();
  if (number < least || number > most) {
    fail(name, "from " + std::to_string(least) + " to " + std::to_string(most), std::to_string(number));
  }
  return number;
}

std::vector<double> JsonObject::numbers(const std::string& name, std::size_t count, double least, double most) {
  const Json& value = list(name);
  if (value.size() != count) fail(name, std::to_string(count) + " numbers", std::to_string(value.size()));
  std::vector<double> numbers;
  for (const Json& entry : value) {
    const bool valid = entry.is_number() && entry.get<double>() >= least && entry.get<double>() <= most;
    // dump() of a list calls itself for each level of it, of which a file may have millions.
    if (!valid) fail(name, "numbers " + range_text(least, most), entry.is_number() ? entry.dump() : entry.type_name());
    numbers.push_back(entry.get<double>());
  }
  return numbers;
}

JsonObject JsonObject::object(const std::string& name) { return {member(name), path_ + "." + name}; }

std::vector<JsonObject> JsonObject::objects(const std::string& name) {
  std::vector<JsonObject> objects;
  for (const Json& entry : list(name)) {
    objects.emplace_back(entry, path_ + "." + name + "." + std::to_string(objects.size()));
  }
  return objects;
}

void JsonObject::end() const {
  for (const auto& item : value_->items()) {
    if (read_.count(item.key()) == 0) {
      runtime::fail(PVLR_ERROR_INVALID_BUNDLE, path_, "known members",
                    Json(item.key()).dump(-1, ' ', true).substr(0, 60));
    }
  }
}

}  // namespace pvlr::runtime
