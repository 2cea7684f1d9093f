// From a frame to the network's input, as a manifest defines it. The counterpart of pvlr_sdk/frames/preprocess.py.
#pragma once

#include "bundle/manifest.h"
#include "pvlr/preprocess.h"

namespace pvlr::runtime {

// Thread-safe; each thread has its own scratch memory.
class Preprocessor {
 public:
  // `packed`: the input has the values of a pixel together; else it has three planes.
  Preprocessor(const InputSpec& spec, bool packed);

  // The part of the input that a frame of this size covers: all of it for stretch; for letterbox the centred rectangle
  // with the frame's aspect ratio.
  Rectangle region(std::int32_t width, std::int32_t height) const;

  // Writes normalised values in RGB order: (height, width, 3) if packed, else (3, height, width). Throws Error.
  void operator()(BatchFrame frame, float* input) const;

 private:
  InputSpec spec_;
  bool packed_;
  Normalisation normalisation_;
};

}  // namespace pvlr::runtime
