// Signatures of bundles. The counterpart of pvlr_sdk/trust, with the same keys, state file and rules (docs/signing.md).
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pvlr::runtime {

// A verified signature: the name and version of the bundle that it states.
struct Signature {
  std::string name;
  std::int64_t version;
};

struct TrustedKey {
  std::string name;     // of its file, without ".pem"
  std::string expires;  // the last day in UTC on which it is valid, from NAME.expires; empty: no end
  std::shared_ptr<EVP_PKEY> key;

  // Whether the signature of `data` was made by this key, and is in its one form.
  bool verifies(const std::string& signature, const std::string& data) const;
};

// All functions throw Error: one of the codes of signatures, or PVLR_ERROR_INVALID_ARGUMENT if a key or the state file
// is unusable.

// Verifies a signature and every file that it names; each is read once, and nothing in them is parsed. `keys` is a
// folder of public keys, or one such file. `files` gets the contents of the `needed` ones, by name.
Signature verify(const std::filesystem::path& path, const std::vector<std::filesystem::path>& needed,
                 const std::filesystem::path& keys, std::map<std::string, std::string>* files);

// The key with a fingerprint, the SHA-256 of its PEM file. `source` names the signature.
TrustedKey find_key(const std::filesystem::path& keys, const std::string& fingerprint, const std::string& source);

// Whether a file lies in the state folder, and only this user and root can write it and replace its folders.
bool is_own(const std::filesystem::path& path) noexcept;

// Whether a text is a day of the calendar as YYYY-MM-DD.
bool is_day(const std::string& text);
std::string utc_today();

// Checks a version against the newest one of a bundle's name that was in use; `source` names the signature.
void check_version(const std::string& name, std::int64_t version, const std::string& source);

// Records the version of a bundle that works: from now on, older ones are refused.
void accept_version(const Signature& signature);

}  // namespace pvlr::runtime
