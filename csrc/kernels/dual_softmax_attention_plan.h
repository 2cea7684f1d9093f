// How a launch is cut into thread blocks, and what its workspace holds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "pvlr/dual_softmax_attention.h"

namespace pvlr::device {

// Tokens are taken 32 at a time. Labels are taken in blocks of `columns`. A thread block goes through some of the label
// blocks (label_splits share them) and for each of them through some of the tokens (token_splits share them): it keeps
// the label block's o_t in registers, and the o_x of its tokens in the workspace, where only this thread block adds to
// it. What several splits computed of one row is merged at the end, in a fixed order.
struct AttentionPlan {
  int columns;
  int label_blocks;
  int label_splits;
  int blocks_per_split;
  int tiles;
  int token_splits;
  int tiles_per_split;

  // In floats; each holds sums of (dim), then one maximum, then one sum of weights for each row.
  std::size_t token_state_rows;  // rows of o_x in the workspace
  std::size_t label_state_rows;  // rows of o_t
  std::size_t workspace_bytes;
};

constexpr int kTokensPerTile = 32;

inline int divide_up(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

// `wanted`: how many thread blocks fill the device.
inline AttentionPlan plan_attention(const DualSoftmaxAttentionParams& p, int columns, int wanted) {
  AttentionPlan plan{};
  plan.columns = columns;
  plan.label_blocks = divide_up(p.labels, columns);
  plan.tiles = divide_up(p.tokens, kTokensPerTile);
  const std::int64_t heads = p.batch * p.heads;
  // Splitting labels costs nothing that going through label blocks doesn't cost already, so it comes first.
  const std::int64_t splits = std::max<std::int64_t>(1, wanted / heads);
  plan.blocks_per_split = divide_up(plan.label_blocks, std::min<std::int64_t>(splits, plan.label_blocks));
  plan.label_splits = divide_up(plan.label_blocks, plan.blocks_per_split);
  const std::int64_t more = std::max<std::int64_t>(1, splits / plan.label_splits);
  plan.tiles_per_split = divide_up(plan.tiles, std::min<std::int64_t>(more, plan.tiles));
  plan.token_splits = divide_up(plan.tiles, plan.tiles_per_split);

  const auto rows = [heads](std::int64_t splits_, std::int64_t size) {
    return static_cast<std::size_t>(splits_ * heads * size);
  };
  plan.token_state_rows = plan.label_blocks > 1 ? rows(plan.label_splits, p.tokens) : 0;
  plan.label_state_rows = plan.token_splits > 1 ? rows(plan.token_splits, p.labels) : 0;
  const auto floats = (plan.token_state_rows + plan.label_state_rows) * static_cast<std::size_t>(p.dim + 2);
  plan.workspace_bytes = floats * sizeof(float);
  return plan;
}

// More thread blocks than this are never wanted, so that there is a limit to a workspace on any device. Today's largest
// take 320 (160 multiprocessors, two blocks each).
constexpr int kMostWantedBlocks = 512;

// The largest workspace that a plan for p, or for fewer batch entries, has on any device. Less work is split more, so
// that the largest batch needn't be the one that needs most.
inline std::size_t workspace_limit(DualSoftmaxAttentionParams p, int columns) {
  std::size_t limit = plan_attention(p, columns, 1).workspace_bytes;  // nothing is split: grows with the batch
  const std::int64_t most = std::min(p.batch, kMostWantedBlocks / p.heads);
  for (p.batch = 1; p.batch <= most; ++p.batch) {
    const int heads = static_cast<int>(p.batch * p.heads);
    for (int wanted = heads; wanted <= kMostWantedBlocks; wanted += heads) {
      limit = std::max(limit, plan_attention(p, columns, wanted).workspace_bytes);
    }
  }
  return limit;
}

// Sums that are not normalised yet: sums (rows, dim), and the maximum and sum of weights of each row.
struct PartialRows {
  float* sums;
  float* maxima;
  float* weights;
};

// What the kernels get.
struct AttentionArguments {
  DualSoftmaxAttentionParams params;
  AttentionPlan plan;
  PartialRows token_state;  // (label_splits, batch * heads, tokens)
  PartialRows label_state;  // (token_splits, batch * heads, labels)
};

inline AttentionArguments attention_arguments(const DualSoftmaxAttentionParams& p, const AttentionPlan& plan) {
  const auto dim = static_cast<std::size_t>(p.dim);
  auto* memory = static_cast<float*>(p.workspace);
  const auto take = [&memory](std::size_t floats) {
    float* taken = memory;
    if (memory != nullptr) memory += floats;
    return taken;
  };
  AttentionArguments arguments{p, plan, {}, {}};
  arguments.token_state.sums = take(plan.token_state_rows * dim);
  arguments.label_state.sums = take(plan.label_state_rows * dim);
  arguments.token_state.maxima = take(plan.token_state_rows);
  arguments.token_state.weights = take(plan.token_state_rows);
  arguments.label_state.maxima = take(plan.label_state_rows);
  arguments.label_state.weights = take(plan.label_state_rows);
  return arguments;
}

}  // namespace pvlr::device
