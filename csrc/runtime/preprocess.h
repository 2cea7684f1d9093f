// From a frame to the network's input, as a manifest defines it. The counterpart of pvlr_sdk/frames/preprocess.py.
#pragma once

#include "bundle/manifest.h"
#include "engine/runner.h"
#include "pvlr/preprocess.h"

namespace pvlr::runtime {

// The part of the input that a frame of this size covers: all of it for stretch; for letterbox the centred rectangle
// with the frame's aspect ratio.
Rectangle region_of(const InputSpec& spec, std::int32_t width, std::int32_t height);

// The parameters of an input in float32, without frames and address.
PreprocessBatchParams preprocessing(const InputSpec& spec);

// Throws Error unless the status is OK.
void check(const Status& status);

// Writes the normalised values of a frame in host memory, in RGB order: (height, width, 3). Thread-safe: each thread
// has its own scratch memory. Throws Error.
void preprocess(const InputSpec& spec, const InputFrame& frame, float* input);

}  // namespace pvlr::runtime
