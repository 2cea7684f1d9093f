// The inner loops of preprocessing, compiled for several instruction sets.
#pragma once

#include <cstdint>
#include <vector>

#include "filter.h"
#include "pvlr/yuv.h"

namespace pvlr {

// out[x] = sum over k < taps of weights[k] * rows[k][x], for x < n.
using VerticalPass = void (*)(const std::uint8_t* const* rows, const float* weights, std::int64_t taps, std::int64_t n,
                              float* out);

// Filters one line of interleaved pixels along x, normalises, and writes one row of each plane, `step` floats from one
// pixel to the next: 1, or 3 if the planes are the channels of packed pixels. `line` is readable for 4 floats
// from its last pixel; scale, bias and planes are in the line's channel order.
using HorizontalPass = void (*)(const float* line, const AxisFilter& filter, const float* scale, const float* bias,
                                float* const* planes, std::int64_t step);

// Converts one row of NV12, given as pairs of pixels, to red, green, blue and a zero byte for each pixel.
using Nv12Pass = void (*)(const std::uint8_t* luma, const std::uint8_t* chroma, std::int64_t pairs, YuvMatrix matrix,
                          YuvRange range, std::uint8_t* rgbx);

struct Passes {
  const char* name;  // of the instruction set
  Nv12Pass nv12;
  VerticalPass vertical;
  HorizontalPass horizontal_1;  // grey: one channel goes to all three planes
  HorizontalPass horizontal_3;
  HorizontalPass horizontal_4;
};

// The versions that this processor runs, the fastest first.
const std::vector<Passes>& supported_passes();

inline const Passes& best_passes() { return supported_passes().front(); }

}  // namespace pvlr
