// How a launch is divided into thread blocks, and what its workspace holds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "pvlr/dual_softmax_attention.h"

namespace pvlr::device {

// Tokens are processed in tiles of 32, labels in blocks of `columns`. A thread block iterates over some of the label
// blocks (divided among label_splits), and for each of them over some of the tiles (divided among token_splits). It
// keeps the label block's o_t in registers, and its tokens' o_x in the workspace, where no other thread block adds to
// it. The partial rows of several splits are merged at the end, in a fixed order.
struct AttentionPlan {
  int columns;
  int label_blocks;
  int label_splits;
  int blocks_per_split;
  int tiles;
  int token_splits;
  int tiles_per_split;

  // Rows of (dim) sums, each with a reference and a sum of weights.
  std::size_t token_state_rows;  // rows of o_x in the workspace, whole tiles of them
  std::size_t label_state_rows;  // rows of o_t
  std::size_t workspace_bytes;
};

constexpr int kTokensPerTile = 32;

PVLR_HOST_DEVICE inline std::int64_t padded_tokens(const AttentionPlan& plan) {
  return std::int64_t{plan.tiles} * kTokensPerTile;
}

inline int divide_up(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

// The cost of a merge, in steps: a step is the time that a thread block takes for one tile and one label block. A
// second launch and a pass over the partial rows take about as long as six steps on tensor cores, and one without
// (estimated from counted instructions, not measured).
inline std::int64_t merge_steps(DataType type) { return type == DataType::kFloat32 ? 1 : 6; }

// The label blocks and tiles of each head divided among `wanted` thread blocks.
inline AttentionPlan divide_attention(const DualSoftmaxAttentionParams& p, int columns, std::int64_t wanted) {
  AttentionPlan plan{};
  plan.columns = columns;
  plan.label_blocks = divide_up(p.labels, columns);
  plan.tiles = divide_up(p.tokens, kTokensPerTile);
  // Splitting labels adds no cost to iterating over label blocks, so it comes first.
  const std::int64_t splits = std::max<std::int64_t>(1, wanted / (p.batch * p.heads));
  plan.blocks_per_split = divide_up(plan.label_blocks, std::min<std::int64_t>(splits, plan.label_blocks));
  plan.label_splits = divide_up(plan.label_blocks, plan.blocks_per_split);
  const std::int64_t more = std::max<std::int64_t>(1, splits / plan.label_splits);
  plan.tiles_per_split = divide_up(plan.tiles, std::min<std::int64_t>(more, plan.tiles));
  plan.token_splits = divide_up(plan.tiles, plan.tiles_per_split);
  return plan;
}

// How long the busiest thread block and the merge take. Thread blocks run at once if something is split: there are at
// most as many as wanted.
inline std::int64_t steps_of(const AttentionPlan& plan, DataType type) {
  const bool merges = plan.label_splits > 1 || plan.token_splits > 1;
  return std::int64_t{plan.blocks_per_split} * plan.tiles_per_split + (merges ? merge_steps(type) : 0);
}

// `wanted`: the number of thread blocks that fill the device.
inline AttentionPlan plan_attention(const DualSoftmaxAttentionParams& p, int columns, int wanted) {
  const AttentionPlan whole = divide_attention(p, columns, 1);
  AttentionPlan plan = divide_attention(p, columns, wanted);
  if (steps_of(whole, p.type) < steps_of(plan, p.type)) plan = whole;

  const std::int64_t heads = p.batch * p.heads;
  const auto rows = [heads](std::int64_t splits_, std::int64_t size) {
    return static_cast<std::size_t>(splits_ * heads * size);
  };
  plan.token_state_rows = plan.label_blocks > 1 ? rows(plan.label_splits, padded_tokens(plan)) : 0;
  plan.label_state_rows = plan.token_splits > 1 ? rows(plan.token_splits, p.labels) : 0;
  const auto floats = (plan.token_state_rows + plan.label_state_rows) * static_cast<std::size_t>(p.dim + 2);
  plan.workspace_bytes = floats * sizeof(float);
  return plan;
}

// The most thread blocks ever wanted, which limits the workspace on any device. The largest devices today need 320 (160
// multiprocessors, two blocks each).
constexpr int kMaxWantedBlocks = 512;

// The largest workspace that a plan for p, or for fewer batch entries, has on any device. Less work is split more, so
// the largest batch does not always need the most.
inline std::size_t workspace_limit(DualSoftmaxAttentionParams p, int columns) {
  std::size_t limit = plan_attention(p, columns, 1).workspace_bytes;  // nothing is split: grows with the batch
  const std::int64_t most = std::min(p.batch, kMaxWantedBlocks / p.heads);
  for (p.batch = 1; p.batch <= most; ++p.batch) {
    const int heads = static_cast<int>(p.batch * p.heads);
    for (int wanted = heads; wanted <= kMaxWantedBlocks; wanted += heads) {
      limit = std::max(limit, plan_attention(p, columns, wanted).workspace_bytes);
    }
  }
  return limit;
}

// Rows before normalisation: sums (rows, dim), the sum of weights of each row, and the score whose weight is 1.
struct PartialRows {
  float* sums;
  float* references;
  float* weights;
};

// The kernels' arguments.
struct AttentionArguments {
  DualSoftmaxAttentionParams params;
  AttentionPlan plan;
  PartialRows token_state;  // (label_splits, batch * heads, padded tokens)
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
  arguments.token_state.references = take(plan.token_state_rows);
  arguments.token_state.weights = take(plan.token_state_rows);
  arguments.label_state.references = take(plan.label_state_rows);
  arguments.label_state.weights = take(plan.label_state_rows);
  return arguments;
}

}  // namespace pvlr::device
