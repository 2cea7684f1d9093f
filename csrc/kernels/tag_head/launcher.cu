// The launcher of the tag head: checks and dispatch. The kernels are in the generated instances.
#include <cstdint>
#include <limits>

#include "kernels/common/platform.cuh"
#include "launchers.h"
#include "plan.h"

namespace pvlr {
namespace {

using device::TagHeadLauncher;
using device::TagHeadLaunchers;

Status choose(const TagHeadParams& p, TagHeadLauncher* launcher) {
  device::DeviceProperties found{};
  PVLR_RETURN_IF_ERROR(device::find_device(&found));
  const bool ahead = device::normalises_ahead(p);
  const TagHeadLaunchers launchers = device::with_element_type(
      p.type, [ahead](auto element) { return device::tag_head_launchers<decltype(element)>(ahead); });
  const auto blocks = [&p](const TagHeadLauncher& one) {
    return p.batch * ((p.labels + one.columns - 1) / one.columns);
  };
  *launcher = blocks(launchers.large) >= found.multiprocessors ? launchers.large : launchers.small;
  if (blocks(*launcher) > std::numeric_limits<std::int32_t>::max()) {
    return invalid("batch: batch * labels is too large for one launch");
  }
  return {};
}

// The checks of sizes and strides, with placeholders for the pointers.
Status check_sizes(TagHeadParams p) {
  static float anything;
  p.x = p.t = &anything;
  p.logits = &anything;
  p.thresholds = &anything;
  p.x_norm = p.t_norm = {};
  return check_tag_head(p);
}

Status check_alignment(const TagHeadParams& p) {
  const TagHeadStrides x = p.x_strides;
  const TagHeadStrides t = p.t_strides;
  using device::aligned;
  if (!aligned(p.x, p.type, {x.batch, x.row})) return invalid("x: rows must be aligned to 16 bytes");
  if (!aligned(p.t, p.type, {t.batch, t.row})) return invalid("t: rows must be aligned to 16 bytes");
  if (!aligned(p.x_norm.weight, DataType::kFloat32)) return invalid("x_norm.weight: must be aligned to 16 bytes");
  if (!aligned(p.x_norm.bias, DataType::kFloat32)) return invalid("x_norm.bias: must be aligned to 16 bytes");
  if (!aligned(p.t_norm.weight, DataType::kFloat32)) return invalid("t_norm.weight: must be aligned to 16 bytes");
  if (!aligned(p.t_norm.bias, DataType::kFloat32)) return invalid("t_norm.bias: must be aligned to 16 bytes");
  return {};
}

}  // namespace

Status tag_head_cuda_workspace(const TagHeadParams& params, std::size_t* bytes) {
  if (bytes == nullptr) return invalid("bytes: must not be null");
  *bytes = 0;
  PVLR_RETURN_IF_ERROR(check_sizes(params));
  TagHeadLauncher launcher{};
  PVLR_RETURN_IF_ERROR(choose(params, &launcher));
  *bytes = device::tag_head_workspace(params);
  return {};
}

Status tag_head_cuda(const TagHeadParams& params, void* stream) {
  PVLR_RETURN_IF_ERROR(check_tag_head(params));
  PVLR_RETURN_IF_ERROR(check_alignment(params));
  TagHeadLauncher launcher{};
  PVLR_RETURN_IF_ERROR(choose(params, &launcher));
  PVLR_RETURN_IF_ERROR(device::check_workspace(params, device::tag_head_workspace(params),
                                               "workspace_bytes: ask tag_head_cuda_workspace for the size"));
  return launcher.launch(params, stream);
}

}  // namespace pvlr
