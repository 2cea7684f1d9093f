// The launcher of the tag head: checks and dispatch. The kernels are instantiated in instances/.
#include <cstdint>
#include <limits>

#include "platform.cuh"
#include "tag_head_launch.h"

namespace pvlr {
namespace {

using device::TagHeadLauncher;
using device::TagHeadLaunchers;

Status invalid(const char* message) { return {StatusCode::kInvalidArgument, message}; }

TagHeadLaunchers launchers_for(DataType type) {
  if (type == DataType::kFloat16) return device::tag_head_launchers<DataType::kFloat16>();
  if (type == DataType::kBfloat16) return device::tag_head_launchers<DataType::kBfloat16>();
  return device::tag_head_launchers<DataType::kFloat32>();
}

Status choose(const TagHeadParams& p, TagHeadLauncher* launcher) {
  std::size_t shared_bytes = 0;
  int multiprocessors = 0;
  int capability = 0;
  if (!device::query_device(&shared_bytes, &multiprocessors, &capability)) {
    return {StatusCode::kUnsupportedDevice, "device: there is no usable CUDA device"};
  }
  if (capability < 75) return {StatusCode::kUnsupportedDevice, "device: needs compute capability 7.5 or later"};
  const TagHeadLaunchers launchers = launchers_for(p.type);
  const auto blocks = [&p](const TagHeadLauncher& one) {
    return p.batch * ((p.labels + one.columns - 1) / one.columns);
  };
  *launcher = blocks(launchers.large) >= multiprocessors ? launchers.large : launchers.small;
  if (blocks(*launcher) > std::numeric_limits<std::int32_t>::max()) {
    return invalid("batch: batch * labels is too large for one launch");
  }
  return {};
}

// The checks of sizes and strides, with any pointers that they accept.
Status check_sizes(TagHeadParams p) {
  static float anything;
  p.x = p.t = &anything;
  p.logits = &anything;
  p.thresholds = &anything;
  p.x_norm = p.t_norm = {};
  return check_tag_head(p);
}

bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

bool aligned(const void* pointer, const TagHeadStrides& strides, DataType type) {
  const std::int64_t elements = type == DataType::kFloat32 ? 4 : 8;  // in 16 bytes
  return aligned(pointer) && strides.batch % elements == 0 && strides.row % elements == 0;
}

Status check_alignment(const TagHeadParams& p) {
  if (!aligned(p.x, p.x_strides, p.type)) return invalid("x: rows must be aligned to 16 bytes");
  if (!aligned(p.t, p.t_strides, p.type)) return invalid("t: rows must be aligned to 16 bytes");
  if (!aligned(p.x_norm.weight)) return invalid("x_norm.weight: must be aligned to 16 bytes");
  if (!aligned(p.x_norm.bias)) return invalid("x_norm.bias: must be aligned to 16 bytes");
  if (!aligned(p.t_norm.weight)) return invalid("t_norm.weight: must be aligned to 16 bytes");
  if (!aligned(p.t_norm.bias)) return invalid("t_norm.bias: must be aligned to 16 bytes");
  return {};
}

}  // namespace

Status tag_head_cuda_workspace(const TagHeadParams& params, std::size_t* bytes) {
  if (bytes == nullptr) return invalid("bytes: must not be null");
  *bytes = 0;
  const Status checked = check_sizes(params);
  if (!checked.ok()) return checked;
  TagHeadLauncher launcher{};
  return choose(params, &launcher);
}

Status tag_head_cuda(const TagHeadParams& params, void* stream) {
  const Status checked = check_tag_head(params);
  if (!checked.ok()) return checked;
  const Status alignment = check_alignment(params);
  if (!alignment.ok()) return alignment;
  TagHeadLauncher launcher{};
  const Status chosen = choose(params, &launcher);
  if (!chosen.ok()) return chosen;
  return launcher.launch(params, stream);
}

}  // namespace pvlr
