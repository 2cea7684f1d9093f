#include "bundle.h"

#include <system_error>
#include <utility>

#include "files.h"
#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

namespace fs = std::filesystem;

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

Bundle open_bundle(const fs::path& given, const fs::path& trust) {
  std::error_code error;
  const fs::path plan = fs::is_directory(given, error) ? given / "engine.plan" : given;
  if (is_missing(plan)) {
    fail(PVLR_ERROR_NOT_FOUND, plan.string(), "a plan, or a folder with engine.plan", "No such file or directory");
  }
  const auto beside = [&plan](const char* extension) { return fs::path(plan).replace_extension(extension); };
  const fs::path manifest_path = beside(".json");
  const fs::path bank_path = beside(".labels.safetensors");

  Bundle bundle{};
  bundle.source = plan.string();
  std::map<std::string, std::string> verified;
  if (!trust.empty()) {
    const fs::path knowledge = beside(".knowledge.safetensors");
    const fs::path last = is_missing(knowledge) ? plan : knowledge;
    bundle.signature = verify(beside(".sig"), {manifest_path, plan, bank_path, last}, trust, &verified);
  }
  // Verified bytes are the bytes that are used: no file is read twice.
  const auto read = [&](const fs::path& path, std::uint64_t least, std::uint64_t most) {
    return bundle.signature ? std::move(verified.at(path.filename().string())) : read_file(path, least, most);
  };
  const auto read_checked = [&](const fs::path& path, const FileSpec& spec) {
    std::string data = read(path, spec.bytes, spec.bytes);
    check_hash(PVLR_ERROR_INVALID_BUNDLE, data, spec.sha256, path);
    return data;
  };
  bundle.manifest = parse_manifest(read(manifest_path, 1, kMaxManifestBytes), manifest_path.string());
  // Other tools sign a folder's name, and without a version: no way around the version of this bundle.
  if (bundle.signature) check_version(bundle.manifest.name, bundle.signature->version, beside(".sig").string());
  bundle.plan = read_checked(plan, bundle.manifest.plan);
  const std::string bank = read_checked(bank_path, bundle.manifest.label_bank);
  bundle.labels = read_label_bank(bank, bank_path.string());
  check_labels(bundle.labels, bundle.manifest, bank_path.string());
  bundle.golden = decode_png(bundle.manifest.golden.frame_png, manifest_path.string() + ".golden.frame_png");
  return bundle;
}

LabelBank load_label_bank(const fs::path& path, const fs::path& trust, std::optional<Signature>* signature) {
  constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 28;
  if (trust.empty() || is_missing(path) || is_own(path)) {
    return read_label_bank(read_file(path, 1, kMaxBytes), path.string());
  }
  const bool bank = path.extension() == ".safetensors";
  const fs::path own = bank ? fs::path(path.string() + ".sig") : fs::path(path).replace_extension(".sig");
  const fs::path of_bundle = fs::path(path).replace_extension().replace_extension(".sig");
  std::map<std::string, std::string> verified;
  *signature = verify(is_missing(own) && !is_missing(of_bundle) ? of_bundle : own, {path}, trust, &verified);
  return read_label_bank(verified.at(path.filename().string()), path.string());
}

}  // namespace pvlr::runtime
