// Reads the wire format of Protocol Buffers, strictly: what a schema does not name is an error.
//
// Parsers differ in what they make of an unknown field, or of a field that may be there once and is there twice. A
// message that this reader accepts has one meaning for all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pvlr::network {

// The network is refused for what it has.
struct Refused {
  std::string got;
};

// The network ends inside a field, or lacks one.
struct Incomplete {};

enum Wire : std::uint32_t { kInt = 0, kBytes = 2, kFloat = 5 };  // a packed list of numbers is kBytes

// A set of field numbers for each wire type.
struct Fields {
  std::uint32_t ints = 0;
  std::uint32_t bytes = 0;
  std::uint32_t floats = 0;

  constexpr bool has(std::uint32_t number, std::uint32_t wire) const {
    const std::uint32_t set = wire == kInt ? ints : wire == kBytes ? bytes : wire == kFloat ? floats : 0;
    return number < 32 && (set >> number & 1U) != 0;
  }
};

template <typename... Numbers>
constexpr std::uint32_t numbers(Numbers... all) {
  return (0U | ... | (1U << static_cast<unsigned>(all)));
}

struct Message {
  const char* name;
  Fields once;      // fields that it may have once
  Fields repeated;  // fields that it may have any number of times
};

struct Field {
  std::uint32_t number;
  std::uint32_t wire;
  std::uint64_t value;     // of kInt
  std::string_view bytes;  // the contents of kBytes and kFloat
};

class Reader {
 public:
  // Reads messages within `data`, at most `most` fields in all; a byte of packed integers counts as one.
  Reader(std::string_view data, std::int64_t most) : end_(data.data() + data.size()), most_(most), left_(most) {}

  // Calls visit(field) for each field of a message.
  template <typename Visit>
  void read(const Message& message, std::string_view bytes, const Visit& visit) {
    const char* at = bytes.data();
    const char* const end = at + bytes.size();
    std::uint32_t seen = 0;
    while (at < end) {
      const Field field = next(message, &at, end, &seen);
      spend(1);
      visit(field);
    }
  }

  // Appends the signed integers of a field that may be packed.
  void integers(const Field& field, std::vector<std::int64_t>* values) {
    if (field.wire == kInt) return values->push_back(static_cast<std::int64_t>(field.value));
    spend(field.bytes.size());
    const char* at = field.bytes.data();
    const char* const end = at + field.bytes.size();
    while (at < end) values->push_back(static_cast<std::int64_t>(varint(&at)));
    if (at != end) throw Refused{"a list of integers that ends early"};
  }

 private:
  Field next(const Message& message, const char** at, const char* end, std::uint32_t* seen) const {
    std::uint32_t tag = byte(at);
    if (tag >= 0x80) tag = (tag & 0x7FU) | byte(at) << 7U;  // field numbers from 16 on; none in use needs three bytes
    Field field{tag >> 3U, tag & 7U, 0, {}};
    if (!message.repeated.has(field.number, field.wire)) {
      const bool known = message.once.has(field.number, field.wire);
      if (!known || (*seen >> field.number & 1U) != 0) {
        throw Refused{"field " + std::to_string(field.number) + " of " + message.name +
                      (known ? " twice" : ", which no exported network has")};
      }
      *seen |= 1U << field.number;
    }
    field.value = field.wire == kFloat ? 4 : varint(at);
    const std::uint64_t length = field.wire == kInt ? 0 : field.value;
    if (*at > end || length > static_cast<std::size_t>(end - *at)) {
      throw Refused{std::string("a ") + message.name + " that ends early"};
    }
    field.bytes = {*at, static_cast<std::size_t>(length)};
    *at += length;
    return field;
  }

  std::uint64_t varint(const char** at) const {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      const std::uint32_t next = byte(at);
      value |= std::uint64_t{next & 0x7FU} << shift;
      if (next < 0x80) return value;
    }
    throw Refused{"an integer of more than ten bytes"};
  }

  std::uint32_t byte(const char** at) const {
    if (*at == end_) throw Incomplete{};
    return static_cast<unsigned char>(*(*at)++);
  }

  void spend(std::size_t count) {
    left_ -= static_cast<std::int64_t>(count);
    if (left_ < 0) throw Refused{"more than " + std::to_string(most_) + " fields"};
  }

  const char* end_;
  std::int64_t most_;
  std::int64_t left_;
};

}  // namespace pvlr::network
