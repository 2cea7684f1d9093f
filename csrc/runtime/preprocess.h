// From a frame to the network's input, as a manifest defines it. The counterpart of pvlr_sdk/frames/preprocess.py.
#pragma once

#include "bundle/manifest.h"
#include "pvlr/preprocess.h"

namespace pvlr::runtime {

// Writes normalised values in RGB order: (height, width, 3) if `packed`, else (3, height, width). Returns the part of
// the input that the frame covers: all of it for stretch; for letterbox the centred rectangle with the frame's aspect
// ratio. Thread-safe: each thread has its own scratch memory. Throws Error.
Rectangle preprocess(const InputSpec& spec, bool packed, BatchFrame frame, float* input);

}  // namespace pvlr::runtime
