#include "bundle.h"

#include <system_error>

#include "files.h"
#include "label_bank.h"
#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

namespace fs = std::filesystem;

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
