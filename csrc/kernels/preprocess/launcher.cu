// The launcher of batch preprocessing: checks and dispatch. The kernels are in the generated instances.
#include <algorithm>
#include <cstdint>

#include "kernels/common/platform.cuh"
#include "launchers.h"

namespace pvlr {

Status preprocess_batch_cuda(const PreprocessBatchParams& params, void* stream) {
  PVLR_RETURN_IF_ERROR(check_preprocess_batch(params));
  device::DeviceProperties found{};
  PVLR_RETURN_IF_ERROR(device::find_device(&found));

  device::BatchArguments arguments{};
  arguments.dst_width = params.dst_width;
  arguments.dst_height = params.dst_height;
  arguments.normalisation = params.normalisation;
  const std::int64_t output_bytes =
      std::int64_t{3} * params.dst_width * params.dst_height * (params.type == DataType::kFloat32 ? 4 : 2);
  for (std::int64_t first = 0; first < params.count; first += kFramesPerLaunch) {
    const std::int64_t count = std::min(kFramesPerLaunch, params.count - first);
    std::copy_n(params.frames + first, count, arguments.frames);
    arguments.dst = static_cast<char*>(params.dst) + first * output_bytes;
    PVLR_RETURN_IF_ERROR(device::with_element_type(params.type, [&](auto element) {
      return device::launch_preprocess<decltype(element)>(arguments, static_cast<int>(count), stream);
    }));
  }
  return {};
}

}  // namespace pvlr
