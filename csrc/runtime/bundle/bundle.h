// The bundle: a plan, its manifest and its label bank.
#pragma once

#include <filesystem>
#include <string>

#include "manifest.h"
#include "png.h"

namespace pvlr::runtime {

// A verified bundle in memory: `plan` has the bytes whose hash was checked.
struct Bundle {
  std::string source;  // names the plan in errors
  Manifest manifest;
  std::string plan;
  Image golden;
};

// Reads the three files, each once, and compares their sizes and hashes with the manifest. Throws Error.
Bundle open_bundle(const std::filesystem::path& plan);

}  // namespace pvlr::runtime
