// The launcher of dual-softmax attention: checks, plan, dispatch. The kernels are instantiated in instances/.
#include <cstdint>
#include <limits>

#include "dual_softmax_attention_launch.h"
#include "platform.cuh"

namespace pvlr {
namespace {

using device::AttentionLauncher;
using device::AttentionLaunchers;
using device::AttentionPlan;

template <DataType kType>
AttentionLaunchers launchers_for(std::int64_t dim) {
  if (dim == 32) return device::attention_launchers<kType, 32>();
  if (dim == 64) return device::attention_launchers<kType, 64>();
  if (dim == 96) return device::attention_launchers<kType, 96>();
  return device::attention_launchers<kType, 128>();
}

AttentionLaunchers launchers_for(const DualSoftmaxAttentionParams& p) {
  if (p.type == DataType::kFloat16) return launchers_for<DataType::kFloat16>(p.dim);
  if (p.type == DataType::kBfloat16) return launchers_for<DataType::kBfloat16>(p.dim);
  return launchers_for<DataType::kFloat32>(p.dim);
}

struct Choice {
  AttentionLauncher launcher;
  AttentionPlan plan;
};

Status choose(const DualSoftmaxAttentionParams& p, Choice* choice) {
  std::size_t shared_bytes = 0;
  int multiprocessors = 0;
  int capability = 0;
  if (!device::query_device(&shared_bytes, &multiprocessors, &capability)) {
    return {StatusCode::kUnsupportedDevice, "device: there is no usable CUDA device"};
  }
  if (capability < 75) return {StatusCode::kUnsupportedDevice, "device: needs compute capability 7.5 or later"};
  const AttentionLaunchers launchers = launchers_for(p);
  const bool large = p.labels >= launchers.large.columns && launchers.large.shared_bytes <= shared_bytes;
  choice->launcher = large ? launchers.large : launchers.small;
  const int wanted = std::min(device::kMostWantedBlocks, multiprocessors * choice->launcher.blocks_per_processor);
  choice->plan = device::plan_attention(p, choice->launcher.columns, wanted);
  return {};
}

// The merge counts rows in 32 bits. Thread blocks of the attention are never more than one a head or the wanted number.
Status check_launch(const DualSoftmaxAttentionParams& p) {
  const Status checked = check_dual_softmax_attention(p);
  if (!checked.ok()) return checked;
  if (p.batch * p.heads > std::numeric_limits<std::int32_t>::max() / (p.tokens + p.labels)) {
    return {StatusCode::kInvalidArgument, "batch: batch * heads * (tokens + labels) must be below 2^31"};
  }
  return {};
}

// Sizes of an input as the checks need them, with any pointer that is not null.
Status check_sizes(DualSoftmaxAttentionParams p) {
  static char anything;
  p.q_x = p.k_t = p.v_x = p.v_t = &anything;
  p.o_x = p.o_t = &anything;
  return check_launch(p);
}

bool aligned(const void* pointer, const AttentionStrides& strides, DataType type) {
  const std::int64_t elements = type == DataType::kFloat32 ? 4 : 8;  // in 16 bytes
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0 && strides.batch % elements == 0 &&
         strides.head % elements == 0 && strides.row % elements == 0;
}

Status check_alignment(const DualSoftmaxAttentionParams& p) {
  const auto invalid = [](const char* message) { return Status{StatusCode::kInvalidArgument, message}; };
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
  if (bytes == nullptr) return {StatusCode::kInvalidArgument, "bytes: must not be null"};
  const Status checked = check_sizes(params);
  if (!checked.ok()) return checked;
  Choice choice{};
  const Status chosen = choose(params, &choice);
  *bytes = chosen.ok() ? choice.plan.workspace_bytes : 0;
  return chosen;
}

Status dual_softmax_attention_cuda_workspace_limit(const DualSoftmaxAttentionParams& params, std::size_t* bytes) {
  if (bytes == nullptr) return {StatusCode::kInvalidArgument, "bytes: must not be null"};
  *bytes = 0;
  const Status checked = check_sizes(params);
  if (!checked.ok()) return checked;
  const AttentionLaunchers launchers = launchers_for(params);
  *bytes = device::workspace_limit(params, launchers.small.columns);
  if (params.labels >= launchers.large.columns) {
    *bytes = std::max(*bytes, device::workspace_limit(params, launchers.large.columns));
  }
  return {};
}

Status dual_softmax_attention_cuda(const DualSoftmaxAttentionParams& params, void* stream) {
  const Status checked = check_launch(params);
  if (!checked.ok()) return checked;
  const Status alignment = check_alignment(params);
  if (!alignment.ok()) return alignment;
  Choice choice{};
  const Status chosen = choose(params, &choice);
  if (!chosen.ok()) return chosen;
  if (choice.plan.workspace_bytes > 0) {
    if (params.workspace == nullptr || params.workspace_bytes < choice.plan.workspace_bytes) {
      return {StatusCode::kWorkspaceTooSmall,
              "workspace_bytes: ask dual_softmax_attention_cuda_workspace for the size"};
    }
    if (reinterpret_cast<std::uintptr_t>(params.workspace) % 16 != 0) {
      return {StatusCode::kInvalidArgument, "workspace: must be aligned to 16 bytes"};
    }
  }
  return choice.launcher.launch(device::attention_arguments(params, choice.plan), stream);
}

}  // namespace pvlr
