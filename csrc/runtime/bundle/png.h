// Decodes the golden image.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pvlr::runtime {

// Packed pixels in BGR order.
struct Image {
  std::int32_t width;
  std::int32_t height;
  std::vector<std::uint8_t> pixels;  // (height, width, 3)
};

// Decodes a PNG in base64; `name` is the member of the manifest, for errors. Throws Error (PVLR_ERROR_INVALID_BUNDLE).
Image decode_png(const std::string& base64, const std::string& name);

}  // namespace pvlr::runtime
