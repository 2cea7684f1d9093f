// Reads what comes from outside: files within limits, their hashes, base64, and images.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/error.h"

namespace pvlr::runtime {

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }

 private:
  int number_;
};

// The contents of a regular file of at least `least` and at most `most` bytes; a FIFO, a device or a file of another
// size costs neither time nor memory. Throws Error: PVLR_ERROR_NOT_FOUND, PVLR_ERROR_INVALID_BUNDLE for another size.
std::string read_file(const std::filesystem::path& path, std::uint64_t least, std::uint64_t most);

// Whether there is nothing: what may not be looked at is not missing.
bool is_missing(const std::filesystem::path& path);

std::string sha256(const std::string& data);  // in hex
bool is_digest(const std::string& text);

// Throws Error with the code, unless the data have the hash; `path` names them.
void check_hash(pvlr_status code, const std::string& data, const std::string& sha256,
                const std::filesystem::path& path);

// The bytes of a text in base64; nothing unless it is the text that an encoder writes for them.
std::optional<std::string> decode_base64(const std::string& text);

inline const unsigned char* bytes_of(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
inline unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

// Packed pixels in BGR order.
struct Image {
  std::int32_t width;
  std::int32_t height;
  std::vector<std::uint8_t> pixels;  // (height, width, 3)
};

// Decodes a PNG in base64; `name` is the member of the manifest, for errors. Throws Error (PVLR_ERROR_INVALID_BUNDLE).
Image decode_png(const std::string& base64, const std::string& name);

// Calls a function, whose errors get another code.
template <typename Function>
auto with_code(pvlr_status code, const Function& function) {
  try {
    return function();
  } catch (const Error& error) {
    throw Error(code, error.what());
  }
}

}  // namespace pvlr::runtime
