// The kernel's arguments, and the launchers that the instances define, one for each element type.
#pragma once

#include <cstdint>

#include "pvlr/preprocess.h"

namespace pvlr::device {

struct BatchArguments {
  BatchFrame frames[kFramesPerLaunch];
  void* dst;  // of the first of these frames
  std::int32_t dst_width;
  std::int32_t dst_height;
  Normalisation normalisation;
};
static_assert(sizeof(BatchArguments) <= 4096, "kernels take no more than 4 KiB of arguments");

constexpr int kBatchRows = 8;  // rows of 32 outputs in a thread block

template <typename T>
Status launch_preprocess(const BatchArguments& arguments, int count, void* stream);

}  // namespace pvlr::device
