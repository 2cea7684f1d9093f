#include "preprocessor.h"

#include <algorithm>
#include <string>

#include "error.h"

namespace pvlr::runtime {

Preprocessor::Preprocessor(const InputSpec& spec, bool packed) : spec_(spec), packed_(packed), normalisation_{} {
  for (std::size_t c = 0; c < 3; ++c) {  // in double, and rounded once
    normalisation_.scale[c] = static_cast<float>(1 / spec.std[c]);
    normalisation_.bias[c] = static_cast<float>(-spec.mean[c] / spec.std[c]);
    normalisation_.pad[c] = static_cast<float>((spec.pad[c] - spec.mean[c]) / spec.std[c]);
  }
}

Rectangle Preprocessor::region(std::int32_t width, std::int32_t height) const {
  if (!spec_.letterbox) return {0, 0, spec_.width, spec_.height};
  const double scale = std::min(spec_.width / static_cast<double>(width), spec_.height / static_cast<double>(height));
  const auto scaled = [scale](std::int32_t side, std::int32_t most) {
    return std::clamp(static_cast<std::int32_t>(side * scale + 0.5), 1, most);
  };
  const std::int32_t inner_width = scaled(width, spec_.width);
  const std::int32_t inner_height = scaled(height, spec_.height);
  return {(spec_.width - inner_width) / 2, (spec_.height - inner_height) / 2, inner_width, inner_height};
}

void Preprocessor::operator()(BatchFrame frame, float* input) const {
  frame.region = region(frame.width, frame.height);
  PreprocessParams params = frame_params(frame);
  params.dst = input;
  params.channels_last = packed_;
  params.dst_width = spec_.width;
  params.dst_height = spec_.height;
  params.normalisation = normalisation_;
  const Status status = preprocess_host(params);
  if (status.code == StatusCode::kInvalidArgument) throw Error(PVLR_ERROR_INVALID_ARGUMENT, status.message);
  if (!status.ok()) throw Error(PVLR_ERROR_OUT_OF_MEMORY, status.message);
}

}  // namespace pvlr::runtime
