#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/bundle/files.h"
#include "signature.h"

namespace pvlr::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxKeyBytes = 1U << 16U;
constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kBegin = "-----BEGIN PUBLIC KEY-----";
constexpr std::string_view kEnd = "-----END PUBLIC KEY-----";
// How the two kinds begin in DER; 64 and 32 bytes follow.
constexpr std::string_view kP256(
    "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04", 27);
constexpr std::string_view kEd25519("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 12);
// Half of the order of P-256, in 33 bytes.
constexpr std::string_view kHalf(
    "\0\x7f\xff\xff\xff\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff\xde\x73\x7d\x56\xd3\x8b\xcf\x42\x79\xdc\xe5\x61\x7e"
    "\x31\x92\xa8",
    33);

// (r, order - s) is a signature of the same data as (r, s): only the lower s is accepted. OpenSSL has verified the DER:
// 30 length, 02 length r, 02 length s.
bool has_low_s(const std::string& signature) {
  const std::string s = signature.substr(6 + static_cast<unsigned char>(signature[3]));
  return std::string(kHalf.size() - s.size(), '\0') + s <= kHalf;
}

std::string shown(const std::tm& day) {
  char text[32];
  return {text, std::strftime(text, sizeof text, "%04Y-%m-%d", &day)};
}

// The last day of a key.
std::string read_expiry(const fs::path& path) {
  if (is_missing(path)) return {};
  std::string text = read_file(path, 0, 100);
  text.erase(0, text.find_first_not_of(kSpace));
  text.erase(text.find_last_not_of(kSpace) + 1);
  if (!is_day(text)) fail(PVLR_ERROR_INVALID_ARGUMENT, path.string(), "a date such as 2027-12-31", "another text");
  return text;
}

// A key, and its fingerprint.
TrustedKey load_key(const fs::path& path, std::string* fingerprint) {
  const std::string pem = read_file(path, 0, kMaxKeyBytes);
  const std::size_t begin = std::min(pem.find(kBegin), pem.size());
  std::string base64 = pem.substr(begin, pem.find(kEnd, begin) - begin).erase(0, kBegin.size());
  base64.erase(std::remove_if(base64.begin(), base64.end(), [](char c) { return kSpace.find(c) != kSpace.npos; }),
               base64.end());
  const std::string der = decode_base64(base64).value_or("");
  const auto is_kind = [&der](std::string_view prefix, std::size_t size) {
    return der.size() == prefix.size() + size && der.compare(0, prefix.size(), prefix) == 0;
  };
  const unsigned char* from = bytes_of(der);
  std::shared_ptr<EVP_PKEY> key(nullptr, EVP_PKEY_free);
  if (is_kind(kP256, 64) || is_kind(kEd25519, 32)) {
    key.reset(d2i_PUBKEY(nullptr, &from, static_cast<long>(der.size())), EVP_PKEY_free);
  }
  if (key == nullptr) {
    fail(PVLR_ERROR_INVALID_ARGUMENT, path.string(), "the public part of an Ed25519 or ECDSA P-256 key",
         pem.find("PRIVATE KEY") != pem.npos ? "a private key" : "something else");
  }
  for (std::size_t i = 64; i < base64.size(); i += 65) base64.insert(i, 1, '\n');
  *fingerprint = sha256(std::string(kBegin) + "\n" + base64 + "\n" + std::string(kEnd) + "\n");
  return {path.stem().string(), read_expiry(fs::path(path).replace_extension(".expires")), key};
}

std::vector<fs::path> key_files(const fs::path& keys) {
  std::error_code error;
  if (!fs::is_directory(keys, error)) return {keys};
  std::vector<fs::path> files;
  for (fs::directory_iterator one(keys, error); !error && one != fs::directory_iterator(); one.increment(error)) {
    if (one->path().extension() == ".pem") files.push_back(one->path());
  }
  if (error || files.empty()) {
    fail(PVLR_ERROR_INVALID_ARGUMENT, keys.string(), "public keys, *.pem", error ? error.message() : "none");
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

bool TrustedKey::verifies(const std::string& signature, const std::string& data) const {
  const bool ecdsa = EVP_PKEY_base_id(key.get()) == EVP_PKEY_EC;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const bool valid =
      EVP_DigestVerifyInit(context.get(), nullptr, ecdsa ? EVP_sha256() : nullptr, nullptr, key.get()) == 1 &&
      EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(data), data.size()) == 1;
  ERR_clear_error();  // of the calling thread, which may use OpenSSL itself
  return valid && (!ecdsa || has_low_s(signature));
}

TrustedKey find_key(const fs::path& keys, const std::string& fingerprint, const std::string& source) {
  std::optional<TrustedKey> found;
  const auto sooner = [](const std::string& a, const std::string& b) { return !a.empty() && (b.empty() || a < b); };
  for (const fs::path& path : key_files(keys)) {  // all of them: a key that seems trusted must be valid
    std::string own;
    const TrustedKey key = with_code(PVLR_ERROR_INVALID_ARGUMENT, [&] { return load_key(path, &own); });
    // Of one key in several files, the earliest last day counts.
    if (own == fingerprint && (!found || sooner(key.expires, found->expires))) found = key;
  }
  if (found) return *found;
  fail(PVLR_ERROR_UNTRUSTED_KEY, source, "a signature by a key in " + keys.string(),
       "one by the key " + fingerprint.substr(0, 16) + "...");
}

bool is_day(const std::string& text) {
  std::tm day{};
  if (text.size() != 10 || strptime(text.c_str(), "%Y-%m-%d", &day) == nullptr) return false;
  timegm(&day);  // which makes 03-02 of 02-30
  return text == shown(day) && text >= "0001";
}

std::string utc_today() {
  const std::time_t now = std::time(nullptr);
  std::tm day{};
  return shown(*gmtime_r(&now, &day));
}

}  // namespace pvlr::runtime
