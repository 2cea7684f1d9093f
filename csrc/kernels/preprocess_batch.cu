// The launcher of the batch's preprocessing: checks and dispatch. The kernels are instantiated in instances/.
#include <algorithm>
#include <cstdint>

#include "platform.cuh"
#include "preprocess_batch_launch.h"

namespace pvlr {
namespace {

using device::BatchArguments;

Status launch(DataType type, const BatchArguments& arguments, int count, void* stream) {
  if (type == DataType::kFloat16) {
    return device::launch_preprocess_batch<DataType::kFloat16>(arguments, count, stream);
  }
  if (type == DataType::kBfloat16) {
    return device::launch_preprocess_batch<DataType::kBfloat16>(arguments, count, stream);
  }
  return device::launch_preprocess_batch<DataType::kFloat32>(arguments, count, stream);
}

}  // namespace

Status preprocess_batch_cuda(const PreprocessBatchParams& params, void* stream) {
  const Status checked = check_preprocess_batch(params);
  if (!checked.ok()) return checked;
  std::size_t shared_bytes = 0;
  int multiprocessors = 0;
  int capability = 0;
  if (!device::query_device(&shared_bytes, &multiprocessors, &capability)) {
    return {StatusCode::kUnsupportedDevice, "device: there is no usable CUDA device"};
  }
  if (capability < 75) return {StatusCode::kUnsupportedDevice, "device: needs compute capability 7.5 or later"};

  BatchArguments arguments{};
  arguments.dst_width = params.dst_width;
  arguments.dst_height = params.dst_height;
  std::copy_n(params.scale, 3, arguments.scale);
  std::copy_n(params.bias, 3, arguments.bias);
  std::copy_n(params.pad, 3, arguments.pad);
  const std::int64_t picture_bytes =
      std::int64_t{3} * params.dst_width * params.dst_height * (params.type == DataType::kFloat32 ? 4 : 2);
  for (std::int64_t first = 0; first < params.count; first += kPicturesPerLaunch) {
    const std::int64_t count = std::min(kPicturesPerLaunch, params.count - first);
    std::copy_n(params.pictures + first, count, arguments.pictures);
    arguments.dst = static_cast<char*>(params.dst) + first * picture_bytes;
    const Status launched = launch(params.type, arguments, static_cast<int>(count), stream);
    if (!launched.ok()) return launched;
  }
  return {};
}

}  // namespace pvlr
