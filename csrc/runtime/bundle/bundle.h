// The bundle: a plan, its manifest and its label bank.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "files.h"
#include "manifest.h"
#include "runtime/trust/signature.h"

namespace pvlr::runtime {

// A verified bundle in memory: `plan` has the bytes whose hash was checked.
struct Bundle {
  std::string source;  // names the plan in errors
  Manifest manifest;
  std::string plan;
  Image golden;
  std::optional<Signature> signature;  // that was verified
};

// Reads the three files, each once, and compares their sizes and hashes with the manifest; if `trust` names
// keys, verifies their signature before anything in them is parsed. Throws Error.
Bundle open_bundle(const std::filesystem::path& plan, const std::filesystem::path& trust);

}  // namespace pvlr::runtime
