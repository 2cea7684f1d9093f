#include "preprocess.h"

#include <algorithm>
#include <string>

#include "error.h"

namespace pvlr::runtime {

Rectangle region_of(const InputSpec& spec, std::int32_t width, std::int32_t height) {
  if (!spec.letterbox) return {0, 0, spec.width, spec.height};
  const double scale = std::min(spec.width / static_cast<double>(width), spec.height / static_cast<double>(height));
  const auto scaled = [scale](std::int32_t side, std::int32_t most) {
    return std::clamp(static_cast<std::int32_t>(side * scale + 0.5), 1, most);
  };
  const std::int32_t inner_width = scaled(width, spec.width);
  const std::int32_t inner_height = scaled(height, spec.height);
  return {(spec.width - inner_width) / 2, (spec.height - inner_height) / 2, inner_width, inner_height};
}

PreprocessBatchParams preprocessing(const InputSpec& spec) {
  PreprocessBatchParams params{};
  params.dst_width = spec.width;
  params.dst_height = spec.height;
  for (std::size_t c = 0; c < 3; ++c) {  // in double, and rounded once
    params.normalisation.scale[c] = static_cast<float>(1 / spec.std[c]);
    params.normalisation.bias[c] = static_cast<float>(-spec.mean[c] / spec.std[c]);
    params.normalisation.pad[c] = static_cast<float>((spec.pad[c] - spec.mean[c]) / spec.std[c]);
  }
  return params;
}

void check(const Status& status) {
  if (status.code == StatusCode::kInvalidArgument) throw Error(PVLR_ERROR_INVALID_ARGUMENT, status.message);
  if (!status.ok()) throw Error(PVLR_ERROR_OUT_OF_MEMORY, status.message);
}

void preprocess(const InputSpec& spec, const InputFrame& frame, float* input) {
  if (frame.on_device) fail(PVLR_ERROR_UNSUPPORTED, "frame.memory", "host memory, for a plan for the CPU", "a GPU's");
  PreprocessBatchParams params = preprocessing(spec);
  params.frames = &frame;
  params.count = 1;
  params.dst = input;
  params.channels_last = true;
  check(preprocess_batch_host(params));
}

}  // namespace pvlr::runtime
