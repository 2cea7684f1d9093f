// From a frame to the network's input, as a manifest defines it. The counterpart of pvlr_sdk/frames/preprocess.py.
#pragma once

#include "bundle/manifest.h"
#include "pvlr/preprocess.h"

namespace pvlr::runtime {

// Thread-safe; each thread has its own scratch memory.
class Preprocessor {
 public:
  explicit Preprocessor(const InputSpec& spec);

  // The part of the input that a frame of this size covers: all of it for stretch; for letterbox the centred rectangle
  // with the frame's aspect ratio.
  Rectangle region(std::int32_t width, std::int32_t height) const;

  // Writes (height, width, 3) normalised values in RGB order. Throws Error.
  void operator()(BatchFrame frame, float* input) const;

 private:
  InputSpec spec_;
  Normalisation normalisation_;
};

}  // namespace pvlr::runtime
