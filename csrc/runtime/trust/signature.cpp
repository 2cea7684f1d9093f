#include "signature.h"

#include <algorithm>
#include <string_view>

#include "runtime/bundle/files.h"
#include "runtime/bundle/json_object.h"

namespace pvlr::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxSignatureBytes = 1U << 20U;
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{2} << 30U;  // if the signature does not state the size
// A signature file, around the fingerprint of the key, the statement and its signature. No other spelling is accepted,
// so no byte of it can change unnoticed.
constexpr std::string_view kForm[] = {
    R"({"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":")",
    R"("},"tlogEntries":[]},"dsseEnvelope":{"payload":")",
    R"(","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":")", R"(","keyid":""}]}})"};

struct Envelope {
  std::string key;  // the SHA-256 of its PEM file
  std::string payload;
  std::string signature;
};

struct SignedFile {
  std::uint64_t least;  // bytes
  std::uint64_t most;
  std::string sha256;
};

struct Statement {
  std::string name;
  std::int64_t version = 0;
  std::string expires;  // the last day; empty: no end
  std::map<std::string, SignedFile> files;
};

Envelope parse_envelope(std::string_view text, const std::string& source) {
  std::string parts[3];
  std::size_t at = 0;
  for (std::size_t i = 0; i < 3 && text.substr(at, kForm[i].size()) == kForm[i]; ++i) {
    const std::size_t begin = at + kForm[i].size();
    at = std::min(text.find('"', begin), text.size());
    parts[i] = text.substr(begin, at - begin);
  }
  const auto payload = decode_base64(parts[1]);
  const auto signature = decode_base64(parts[2]);
  const bool valid = text.substr(at) == kForm[3] && is_digest(parts[0]) && payload && signature;
  if (valid && !payload->empty() && !signature->empty()) return {parts[0], *payload, *signature};
  fail(PVLR_ERROR_SIGNATURE_INVALID, source, "a signature in the one form that pvlr sign writes", "other bytes");
}

// A statement whose signature has been verified; signers may have added members.
Statement parse_statement(const std::string& text, const std::string& source) {
  const Json json = parse_json(text, source);
  Statement statement;
  JsonObject object(json, source);
  object.choice("_type", {"https://in-toto.io/Statement/v1"});
  object.choice("predicateType", {"https://model_signing/signature/v1.0"});
  std::vector<JsonObject> subjects = object.objects("subject");
  if (subjects.size() != 1) object.fail("subject", "one bundle", std::to_string(subjects.size()));
  statement.name = subjects[0].text("name");
  JsonObject predicate = object.object("predicate");
  JsonObject serialization = predicate.object("serialization");
  serialization.choice("method", {"files"});
  serialization.choice("hash_type", {"sha256"});
  for (JsonObject& resource : predicate.objects("resources")) {
    const std::string name = resource.text("name");
    const std::string framed = "/" + name + "/";
    for (const char* const part : {"//", "/./", "/../", "\\"}) {
      if (framed.find(part) != framed.npos) resource.fail("name", "a file in the bundle's folder", "another");
    }
    resource.choice("algorithm", {"sha256"});
    SignedFile file{0, kMaxFileBytes, resource.digest("digest")};
    if (resource.has("bytes")) {
      file.least = file.most = static_cast<std::uint64_t>(resource.integer("bytes", 0, INT64_MAX));
    }
    if (!statement.files.emplace(name, file).second) resource.fail("name", "distinct files", "one twice");
  }
  if (statement.files.empty()) predicate.fail("resources", "at least one file", "none");
  if (predicate.has("pvlr")) {
    JsonObject own = predicate.object("pvlr");
    if (json["predicate"]["pvlr"].contains("version"))
      statement.version = own.integer("version", 0, (std::int64_t{1} << 53) - 1);
    if (own.has("expires")) statement.expires = own.text("expires");
    if (own.has("expires") && !is_day(statement.expires)) own.fail("expires", "a date as 2027-12-31", "another text");
  }
  return statement;
}

void check_day(const std::string& source, const std::string& what, const std::string& expires) {
  const std::string today = utc_today();
  if (expires.empty() || today <= expires) return;
  fail(PVLR_ERROR_SIGNATURE_EXPIRED, source, what + " to be valid on " + today + " (UTC)", "its last day, " + expires);
}

// A file that is not a symbolic link, nor behind one in the folder.
std::string read_inside(const fs::path& folder, const fs::path& name, std::uint64_t least, std::uint64_t most) {
  std::error_code ignored;
  fs::path path = folder;
  for (const fs::path& part : name) {
    if (!fs::is_symlink(path /= part, ignored)) continue;
    fail(PVLR_ERROR_NOT_FOUND, path.string(), "no symbolic link in a signed bundle", "one");
  }
  return read_file(path, least, most);
}

}  // namespace

Signature verify(const fs::path& path, const std::vector<fs::path>& needed, const fs::path& keys,
                 std::map<std::string, std::string>* files) {
  const std::string source = path.string();
  const fs::path folder = path.parent_path();
  if (is_missing(path)) fail(PVLR_ERROR_NOT_SIGNED, source, "a signature, because trusted keys are set", "none");
  const std::string data = with_code(PVLR_ERROR_SIGNATURE_INVALID,
                                     [&] { return read_inside(folder, path.filename(), 1, kMaxSignatureBytes); });
  const Envelope envelope = parse_envelope(data, source);
  const TrustedKey key = find_key(keys, envelope.key, source);
  // DSSE's pre-authentication encoding of the statement.
  const std::string size = std::to_string(envelope.payload.size());
  if (!key.verifies(envelope.signature, "DSSEv1 28 application/vnd.in-toto+json " + size + " " + envelope.payload)) {
    fail(PVLR_ERROR_SIGNATURE_INVALID, source, "the signature of the key " + key.name,
         "one of another statement, or in another form");
  }
  check_day(source, "the key " + key.name, key.expires);
  const Statement statement =
      with_code(PVLR_ERROR_SIGNATURE_INVALID, [&] { return parse_statement(envelope.payload, source); });
  check_day(source, "the signature of " + statement.name, statement.expires);
  check_version(statement.name, statement.version, source);
  for (const fs::path& file : needed) {
    if (statement.files.count(file.filename().string()) != 0) continue;
    fail(PVLR_ERROR_SIGNED_FILE, file.string(), "one of the signed files", "another file");
  }
  for (const auto& item : statement.files) {
    const fs::path from = folder / item.first;
    const SignedFile& file = item.second;
    std::string contents =
        with_code(PVLR_ERROR_SIGNED_FILE, [&] { return read_inside(folder, item.first, file.least, file.most); });
    check_hash(PVLR_ERROR_SIGNED_FILE, contents, file.sha256, from);
    if (std::find(needed.begin(), needed.end(), from) != needed.end()) files->emplace(item.first, std::move(contents));
  }
  return {statement.name, statement.version};
}

}  // namespace pvlr::runtime
