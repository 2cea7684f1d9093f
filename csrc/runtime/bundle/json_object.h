// Reads the members of a JSON object from outside: errors name the member, and unknown members are refused.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace pvlr::runtime {

using Json = nlohmann::json;

// Parses a text in UTF-8 without a byte order mark. Throws Error (PVLR_ERROR_INVALID_BUNDLE) that names `source`; a
// member twice is an error, as are more than 32 levels and, if texts must be `printable`, control characters: a
// terminal obeys them, and a zero byte ends a C string.
Json parse_json(const std::string& text, const std::string& source, bool printable = true);

// All functions throw Error (PVLR_ERROR_INVALID_BUNDLE) unless the member is there and valid.
class JsonObject {
 public:
  // `path` names the object in errors. `value` must outlive this.
  JsonObject(const Json& value, std::string path);

  // Whether the member is there and not null.
  bool has(const std::string& name) const;

  // A text of at least one byte.
  std::string text(const std::string& name);
  std::string choice(const std::string& name, const std::vector<std::string>& choices);
  bool flag(const std::string& name);
  double number(const std::string& name, double least, double most);
  std::int64_t integer(const std::string& name, std::int64_t least, std::int64_t most);
  // The SHA-256 of a file, in hex.
  std::string digest(const std::string& name);
  // A list of integers from 0.
  std::vector<std::int64_t> sizes(const std::string& name);
  // A list of `count` numbers.
  std::vector<double> numbers(const std::string& name, std::size_t count, double least, double most);
  JsonObject object(const std::string& name);
  std::vector<JsonObject> objects(const std::string& name);
  // A member that this library does not use.
  void skip(const std::string& name) { read_.insert(name); }

  // Throws if there is a member that was not read.
  void end() const;

  [[noreturn]] void fail(const std::string& name, const std::string& expected, const std::string& got) const;

 private:
  const Json& member(const std::string& name);
  const Json& list(const std::string& name);
  std::int64_t integer_of(const std::string& name, const Json& value, std::int64_t least, std::int64_t most) const;

  const Json* value_;
  std::string path_;
  std::set<std::string> read_;
};

}  // namespace pvlr::runtime
