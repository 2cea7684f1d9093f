// What the kernel gets, and the launchers that the instantiation files define, one for each type.
#pragma once

#include <cstdint>

#include "pvlr/preprocess_batch.h"

namespace pvlr::device {

struct BatchArguments {
  BatchPicture pictures[kPicturesPerLaunch];
  void* dst;  // of the first of these pictures
  std::int32_t dst_width;
  std::int32_t dst_height;
  float scale[3];
  float bias[3];
  float pad[3];
};
static_assert(sizeof(BatchArguments) <= 4096, "kernels take no more than 4 KiB of arguments");

constexpr int kBatchRows = 8;  // outputs below each other in a thread block; 32 lie side by side

template <DataType kType>
Status launch_preprocess_batch(const BatchArguments& arguments, int count, void* stream);

}  // namespace pvlr::device
