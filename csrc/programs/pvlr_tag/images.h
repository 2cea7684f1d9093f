// Frames from files: binary PPM and PGM, or raw frames.
#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "options.h"

namespace program {

// Reads the frames of a file one by one.
class FrameReader {
 public:
  // Throws std::runtime_error if the file cannot be read.
  FrameReader(const std::string& path, const std::optional<RawLayout>& raw);

  // Reads the next frame, whose pixels are valid until the next call; false at the end of the file. Throws
  // std::runtime_error if the file is not an image, or ends within a frame.
  bool next(pvlr_frame* frame);

 private:
  RawLayout read_header();
  std::int32_t read_number();

  std::ifstream file_;
  std::optional<RawLayout> raw_;
  bool done_ = false;
  std::vector<char> pixels_;
};

}  // namespace program
