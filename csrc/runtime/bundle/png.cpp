#include "png.h"

#include <png.h>

#include "files.h"
#include "pvlr/preprocess.h"
#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

// Frees what libpng has allocated for an image.
class PngReader {
 public:
  PngReader() { image.version = PNG_IMAGE_VERSION; }
  ~PngReader() { png_image_free(&image); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  png_image image{};
};

}  // namespace

Image decode_png(const std::string& base64, const std::string& name) {
  const std::optional<std::string> data = decode_base64(base64);
  if (!data) fail(PVLR_ERROR_INVALID_BUNDLE, name, "a PNG in base64", "invalid base64");
  PngReader reader;
  png_image& image = reader.image;
  const auto refuse = [&name](const std::string& got) { fail(PVLR_ERROR_INVALID_BUNDLE, name, "a PNG", got); };
  if (png_image_begin_read_from_memory(&image, data->data(), data->size()) == 0) refuse(image.message);
  if ((image.format & PNG_FORMAT_FLAG_ALPHA) != 0) refuse("one with transparency");
  if (image.width > kMaxBatchSide || image.height > kMaxBatchSide) refuse("one of more than 16384 pixels a side");
  image.format = PNG_FORMAT_BGR;
  Image decoded{static_cast<std::int32_t>(image.width), static_cast<std::int32_t>(image.height), {}};
  decoded.pixels.resize(PNG_IMAGE_SIZE(image));
  if (png_image_finish_read(&image, nullptr, decoded.pixels.data(), 0, nullptr) == 0) refuse(image.message);
  return decoded;
}

}  // namespace pvlr::runtime
