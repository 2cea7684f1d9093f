// The bundle: a plan, its manifest and its label bank.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "files.h"
#include "label_bank.h"
#include "manifest.h"
#include "runtime/trust/signature.h"

namespace pvlr::runtime {

// A verified bundle in memory: `plan` has the bytes whose hash was checked.
struct Bundle {
  std::string source;  // names the plan in errors
  Manifest manifest;
  std::string plan;
  LabelBank labels;
  Image golden;
  std::optional<Signature> signature;  // that was verified
};

// Reads the three files, each once, and compares their sizes and hashes with the manifest; if `trust` names
// keys, verifies their signature before anything in them is parsed. Throws Error.
Bundle open_bundle(const std::filesystem::path& plan, const std::filesystem::path& trust);

// Reads a label bank that is no part of a bundle; with keys in `trust`, verifies its signature, or the signature of the
// bundle it is from, and returns it in `signature`. A file in the state folder that only this user can write needs
// none. Throws Error.
LabelBank load_label_bank(const std::filesystem::path& path, const std::filesystem::path& trust,
                          std::optional<Signature>* signature);

}  // namespace pvlr::runtime
