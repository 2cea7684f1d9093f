#include "bundle.h"

#include <algorithm>
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

void check_names(const std::string& bank, const Manifest& manifest, const std::string& source) {
  const std::vector<std::string> names = read_label_names(bank, source);
  const auto same = [](const LabelSpec& label, const std::string& name) { return label.name == name; };
  if (!std::equal(manifest.labels.begin(), manifest.labels.end(), names.begin(), names.end(), same)) {
    fail(PVLR_ERROR_INVALID_BUNDLE, source, "the labels of the manifest", "others");
  }
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
  check_names(read_checked(bank_path, bundle.manifest.label_bank), bundle.manifest, bank_path.string());
  bundle.golden = decode_png(bundle.manifest.golden.frame_png, manifest_path.string() + ".golden.frame_png");
  return bundle;
}

}  // namespace pvlr::runtime
