// The launcher of dual-softmax attention: checks, plan, dispatch. The kernels are in the generated instances.
#include <cstdint>
#include <limits>

#include "kernels/common/platform.cuh"
#include "launchers.h"

namespace pvlr {
namespace {

using device::AttentionLauncher;
using device::AttentionLaunchers;
using device::AttentionPlan;

AttentionLaunchers launchers_for(const DualSoftmaxAttentionParams& p) {
  return device::with_element_type(p.type, [&p](auto element) {
    using T = decltype(element);
    if (p.dim == 32) return device::attention_launchers<T, 32>();
    if (p.dim == 64) return device::attention_launchers<T, 64>();
    if (p.dim == 96) return device::attention_launchers<T, 96>();
    return device::attention_launchers<T, 128>();
  });
}

struct Choice {
  AttentionLauncher launcher;
  AttentionPlan plan;
};

Status choose(const DualSoftmaxAttentionParams& p, Choice* choice) {
  device::DeviceProperties found{};
  PVLR_RETURN_IF_ERROR(device::find_device(&found));
  const AttentionLaunchers launchers = launchers_for(p);
  const bool large = p.labels >= launchers.large.columns && launchers.large.shared_bytes <= found.shared_bytes;
  const bool tiny = p.labels <= launchers.tiny.columns;
  choice->launcher = tiny ? launchers.tiny : large ? launchers.large : launchers.small;
  const int wanted = std::min(device::kMaxWantedBlocks, found.multiprocessors * choice->launcher.blocks_per_processor);
  choice->plan = device::plan_attention(p, choice->launcher.columns, wanted);
  return {};
}

// The merge counts rows in 32 bits. The attention has at most one thread block per head, or the wanted number.
Status check_launch(const DualSoftmaxAttentionParams& p) {
  PVLR_RETURN_IF_ERROR(check_dual_softmax_attention(p));
  if (p.batch * p.heads > std::numeric_limits<std::int32_t>::max() / (p.tokens + p.labels)) {
    return invalid("batch: batch * heads * (tokens + labels) must be below 2^31");
  }
  return {};
}

// The checks of sizes and strides, with placeholders for the pointers.
Status check_sizes(DualSoftmaxAttentionParams p) {
  static char anything;
  p.q_x = p.k_t = p.v_x = p.v_t = &anything;
  p.o_x = p.o_t = &anything;
  return check_launch(p);
}

bool aligned(const void* pointer, const AttentionStrides& strides, DataType type) {
  return device::aligned(pointer, type, {strides.batch, strides.head, strides.row});
}

Status check_alignment(const DualSoftmaxAttentionParams& p) {
  if (!aligned(p.q_x, p.q_x_strides, p.type)) return invalid("q_x: rows must be aligned to 16 bytes");
  if (!aligned(p.k_t, p.k_t_strides, p.type)) return invalid("k_t: rows must be aligned to 16 bytes");
  if (!aligned(p.v_x, p.v_x_strides, p.type)) return invalid("v_x: rows must be aligned to 16 bytes");
  if (!aligned(p.v_t, p.v_t_strides, p.type)) return invalid("v_t: rows must be aligned to 16 bytes");
  if (!aligned(p.o_x, p.o_x_strides, p.type)) return invalid("o_x: rows must be aligned to 16 bytes");
  if (!aligned(p.o_t, p.o_t_strides, p.type)) return invalid("o_t: rows must be aligned to 16 bytes");
  return {};
}

}  // namespace

Status dual_softmax_attention_cuda_workspace(const DualSoftmaxAttentionParams& params, std::size_t* bytes) {
  if (bytes == nullptr) return invalid("bytes: must not be null");
  PVLR_RETURN_IF_ERROR(check_sizes(params));
  Choice choice{};
  const Status chosen = choose(params, &choice);
  *bytes = chosen.ok() ? choice.plan.workspace_bytes : 0;
  return chosen;
}

Status dual_softmax_attention_cuda_workspace_limit(const DualSoftmaxAttentionParams& params, std::size_t* bytes) {
  if (bytes == nullptr) return invalid("bytes: must not be null");
  *bytes = 0;
  PVLR_RETURN_IF_ERROR(check_sizes(params));
  const AttentionLaunchers launchers = launchers_for(params);
  const bool tiny = params.labels <= launchers.tiny.columns;
  *bytes = device::workspace_limit(params, tiny ? launchers.tiny.columns : launchers.small.columns);
  if (!tiny && params.labels >= launchers.large.columns) {
    *bytes = std::max(*bytes, device::workspace_limit(params, launchers.large.columns));
  }
  return {};
}

Status dual_softmax_attention_cuda(const DualSoftmaxAttentionParams& params, void* stream) {
  PVLR_RETURN_IF_ERROR(check_launch(params));
  PVLR_RETURN_IF_ERROR(check_alignment(params));
  Choice choice{};
  PVLR_RETURN_IF_ERROR(choose(params, &choice));
  PVLR_RETURN_IF_ERROR(device::check_workspace(
      params, choice.plan.workspace_bytes, "workspace_bytes: ask dual_softmax_attention_cuda_workspace for the size"));
  return choice.launcher.launch(device::attention_arguments(params, choice.plan), stream);
}

}  // namespace pvlr
