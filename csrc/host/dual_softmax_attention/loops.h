// The inner loops of dual-softmax attention on the CPU, compiled for several instruction sets.
#pragma once

#include <cstdint>

namespace pvlr {

constexpr std::int64_t kAttentionTokens = 8;  // rows of the affinity at a time

// One block of up to kAttentionTokens tokens and all labels of one head, float32 and packed throughout.
struct AttentionBlock {
  std::int64_t tokens;
  std::int64_t labels;
  std::int64_t dim;
  const float* q_x;      // (tokens, dim), scaled by 1 / sqrt(dim)
  const float* v_x;      // (tokens, dim)
  const float* k_t;      // (dim, labels): transposed
  const float* v_t;      // (labels, dim)
  const float* bias;     // (labels,): 0, or -infinity for masked labels
  float* scores;         // (tokens, labels): scratch
  float* weights;        // (tokens, labels): scratch
  float* o_x;            // (tokens, dim): the result
  float* label_maximum;  // (labels,): running, -infinity at first
  float* label_weight;   // (labels,): running sum of the softmax over tokens
  float* label_sums;     // (labels, dim): running, not divided yet
  float* label_rescale;  // (labels,): scratch
};

void process_attention_block(const AttentionBlock& block);

}  // namespace pvlr
