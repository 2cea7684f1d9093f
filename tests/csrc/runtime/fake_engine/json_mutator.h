// Mutations of a JSON text for libFuzzer, which by itself seldom keeps one valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t capacity);

namespace fuzzing {

using Json = nlohmann::json;

// Replaces, removes or adds a value somewhere in a document; empty if the text is not JSON.
inline std::string altered(const std::string& text, unsigned seed) {
  static const std::vector<Json> kValues = {
      nullptr,       true,           -1,        0,          1,      2,     INT64_MIN, UINT64_MAX,
      1e300,         5e-324,         "",        "x",        "\x7F", "cat", "int8",    "tensorrt",
      Json::array(), Json::object(), {1, 2, 3}, {{"a", 1}}, "fp32"};
  std::mt19937 random(seed);
  Json document = Json::parse(text, nullptr, false);
  if (document.is_discarded()) return {};
  Json* place = &document;
  while (place->is_structured() && !place->empty() && random() % 8 != 0) {
    auto child = place->begin();
    std::advance(child, static_cast<std::ptrdiff_t>(random() % place->size()));
    if (random() % 32 == 0) {
      place->erase(child);
      return document.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    place = &*child;
  }
  const Json value = kValues[random() % kValues.size()];
  if (place->is_array() && random() % 2 == 0) {
    place->push_back(place->empty() ? value : Json(place->back()));
  } else if (place->is_object() && random() % 2 == 0) {
    (*place)[random() % 2 == 0 ? "surprise" : "name"] = value;
  } else {
    *place = value;
  }
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A mutation of the document that begins at `offset`, or sometimes libFuzzer's own of the bytes.
inline std::size_t mutate(std::uint8_t* data, std::size_t size, std::size_t capacity, unsigned seed,
                          std::size_t offset = 0) {
  if (seed % 8 == 0 || size < offset) return LLVMFuzzerMutate(data, size, capacity);
  const std::string text = altered(std::string(data + offset, data + size), seed / 8);
  if (text.empty() || offset + text.size() > capacity) return LLVMFuzzerMutate(data, size, capacity);
  std::memcpy(data + offset, text.data(), text.size());
  return offset + text.size();
}

}  // namespace fuzzing
