// The inner loops of the tag head on the CPU, compiled for several instruction sets.
#pragma once

#include <cstdint>

namespace pvlr {

constexpr std::int64_t kHeadLabels = 16;  // in a block

// LN(row) divided by its Euclidean norm, or zero if the norm is zero.
struct UnitRow {
  std::int64_t width;   // a multiple of 8
  const float* weight;  // of the layer norm; null: none
  const float* bias;
  float epsilon;
  float* row;  // in place
};

// All tokens of an image and a block of labels.
struct HeadBlock {
  std::int64_t tokens;
  std::int64_t width;
  const float* x;  // (tokens, width), unit rows
  const float* t;  // (width, kHeadLabels), unit columns
  float scale;
  float alpha;
  float* similarity;  // (tokens, kHeadLabels): a result
  float* weights;     // (tokens, kHeadLabels): a result
  float* pooled;      // (kHeadLabels,): a result, the sum over tokens of weights * similarity
};

void make_unit_row(const UnitRow& row);
void process_head_block(const HeadBlock& block);

}  // namespace pvlr
