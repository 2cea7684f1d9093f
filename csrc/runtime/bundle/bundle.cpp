#include "bundle.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "label_bank.h"
#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

namespace fs = std::filesystem;

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

[[noreturn]] void fail_unreadable(const fs::path& path, int error) {
  fail(PVLR_ERROR_NOT_FOUND, path.string(), "a file of the bundle", std::generic_category().message(error));
}

// The contents of a regular file of at least `least` and at most `most` bytes; a FIFO, a device or a file of another
// size costs neither time nor memory.
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

// In hex.
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

std::string read_checked(const fs::path& path, const FileSpec& spec) {
  std::string data = read_file(path, spec.bytes, spec.bytes);
  const std::string digest = sha256(data);
  if (digest != spec.sha256) {
    fail(PVLR_ERROR_INVALID_BUNDLE, path.string(), "SHA-256 " + spec.sha256.substr(0, 16) + "...",
         digest.substr(0, 16) + "...");
  }
  return data;
}

// Names and thresholds are stored in both.
void check_labels(const LabelBank& bank, const Manifest& manifest, const std::string& source) {
  bool same = bank.names.size() == manifest.labels.size();
  for (std::size_t i = 0; same && i < bank.names.size(); ++i) {
    const LabelSpec& label = manifest.labels[i];
    same = label.name == bank.names[i] && static_cast<float>(label.threshold) == bank.thresholds[i] &&
           static_cast<float>(label.precise_threshold) == bank.precise_thresholds[i];
  }
  if (!same) fail(PVLR_ERROR_INVALID_BUNDLE, source, "the labels and thresholds of the manifest", "others");
}

}  // namespace

Bundle open_bundle(const fs::path& given) {
  std::error_code ignored;
  const fs::path plan = fs::is_directory(given, ignored) ? given / "engine.plan" : given;
  const auto beside = [&plan](const char* extension) { return fs::path(plan).replace_extension(extension); };
  const fs::path manifest_path = beside(".json");
  const fs::path bank_path = beside(".labels.safetensors");

  Bundle bundle{};
  bundle.source = plan.string();
  bundle.manifest = parse_manifest(read_file(manifest_path, 1, kMaxManifestBytes), manifest_path.string());
  bundle.plan = read_checked(plan, bundle.manifest.plan);
  const std::string bank = read_checked(bank_path, bundle.manifest.label_bank);
  check_labels(read_label_bank(bank, bank_path.string()), bundle.manifest, bank_path.string());
  bundle.golden = decode_png(bundle.manifest.golden.frame_png, manifest_path.string() + ".golden.frame_png");
  return bundle;
}

}  // namespace pvlr::runtime
