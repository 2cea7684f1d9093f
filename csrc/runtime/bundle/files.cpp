#include "files.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <png.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <system_error>

#include "pvlr/preprocess.h"

namespace pvlr::runtime {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_unreadable(const fs::path& path, int error) {
  fail(PVLR_ERROR_NOT_FOUND, path.string(), "a readable file", std::generic_category().message(error));
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

std::string read_file(const fs::path& path, std::uint64_t least, std::uint64_t most) {
  // Opening a FIFO without O_NONBLOCK waits for a writer; the flag has no effect on a regular file.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (file.number() < 0 || fstat(file.number(), &status) != 0) fail_unreadable(path, errno);
  if (!S_ISREG(status.st_mode)) fail(PVLR_ERROR_NOT_FOUND, path.string(), "a regular file", "another kind of file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const auto check_size = [&](std::uint64_t got) {
    if (got >= least && got <= most) return;
    const std::string expected = (least == most ? "" : std::to_string(least) + " to ") + std::to_string(most);
    fail(PVLR_ERROR_INVALID_BUNDLE, path.string(), expected + " bytes", std::to_string(got));
  };
  check_size(size);
  std::string data(size, '\0');
  std::size_t filled = 0;
  while (filled < data.size()) {
    const ssize_t count = read(file.number(), data.data() + filled, data.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_unreadable(path, errno);
    if (count == 0) break;  // it was cut while it was read
    filled += static_cast<std::size_t>(count);
  }
  data.resize(filled);
  check_size(filled);
  return data;
}

bool is_missing(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() == fs::file_type::not_found;
}

std::string sha256(const std::string& data) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(data.data(), data.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    throw Error(PVLR_ERROR_RUNTIME, "SHA-256: libcrypto cannot compute it");
  }
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += kDigits[digest[i] >> 4U];
    hex += kDigits[digest[i] & 15U];
  }
  return hex;
}

bool is_digest(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

void check_hash(pvlr_status code, const std::string& data, const std::string& wanted, const fs::path& path) {
  const std::string got = sha256(data);
  if (got == wanted) return;
  fail(code, path.string(), "SHA-256 " + wanted.substr(0, 16) + "...", got.substr(0, 16) + "...");
}

std::optional<std::string> decode_base64(const std::string& text) {
  if (text.size() > INT_MAX || text.size() % 4 != 0) return {};
  std::string data(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(bytes_of(data), bytes_of(text), static_cast<int>(text.size()));
  if (size != static_cast<int>(data.size())) return {};
  // The decoder counts padding as bytes, and drops the last bits before it.
  for (std::size_t i = 1; i <= 2 && i <= text.size() && text[text.size() - i] == '='; ++i) data.pop_back();
  std::string again(text.size() + 1, '\0');
  EVP_EncodeBlock(bytes_of(again), bytes_of(std::as_const(data)), static_cast<int>(data.size()));
  again.pop_back();
  if (again != text) return {};
  return data;
}

Image decode_png(const std::string& base64, const std::string& name) {
  const std::optional<std::string> data = decode_base64(base64);
  if (!data) fail(PVLR_ERROR_INVALID_BUNDLE, name, "a PNG in base64", "invalid base64");
  const auto refuse = [&name](const std::string& got) { fail(PVLR_ERROR_INVALID_BUNDLE, name, "a PNG", got); };
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const std::unique_ptr<png_image, decltype(&png_image_free)> freed(&image, png_image_free);
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
