#include "files.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }

 private:
  int number_;
};

[[noreturn]] void fail_unreadable(const std::filesystem::path& path, int error) {
  fail(PVLR_ERROR_NOT_FOUND, path.string(), "a file of the bundle", std::generic_category().message(error));
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::uint64_t least, std::uint64_t most) {
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

}  // namespace pvlr::runtime
