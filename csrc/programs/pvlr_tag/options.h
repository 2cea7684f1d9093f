// The command line of pvlr-tag.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pvlr/pvlr.h"

namespace program {

// How the frames of a raw file are stored, without gaps.
struct RawLayout {
  std::int32_t width;
  std::int32_t height;
  pvlr_format format;
  pvlr_matrix matrix;
  pvlr_range range;
};

struct Options {
  std::string plan;
  std::vector<std::string> files;
  pvlr_options tagger;
  std::optional<RawLayout> raw;  // of all files; else they are PPM or PGM
  bool scores = false;           // of every label
};

// Parses the command line. Prints a message and ends the process if it is invalid, or asks for help.
Options parse_options(int argc, char** argv);

}  // namespace program
