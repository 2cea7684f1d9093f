#include "loops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "host/common/vector_code.h"

namespace pvlr {
namespace {

constexpr std::int64_t kLanes = 8;   // partial sums of a row: they keep rounding errors small and fill vectors
constexpr std::int64_t kTokens = 6;  // kTokens * kHeadLabels sums stay in registers
constexpr std::int64_t kSlice = 32;  // of the width, summed separately
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The sum of term(i) over a row.
template <typename Term>
PVLR_INLINE float sum_row(std::int64_t width, const Term& term) {
  float sums[kLanes] = {};
  for (std::int64_t first = 0; first < width; first += kLanes) {
    for (std::int64_t i = 0; i < kLanes; ++i) sums[i] += term(first + i);
  }
  float sum = 0.0F;
  for (const float one : sums) sum += one;
  return sum;
}

// Rounded once: an error here affects a whole row.
PVLR_INLINE float inverse_root(float value) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(value))); }

PVLR_INLINE void make_unit_body(const UnitRow& u) {
  float* const row = u.row;
  if (u.weight != nullptr) {
    const auto width = static_cast<float>(u.width);
    const float mean = sum_row(u.width, [&](std::int64_t i) { return row[i]; }) / width;
    const float variance = sum_row(u.width, [&](std::int64_t i) { return (row[i] - mean) * (row[i] - mean); }) / width;
    const float inverse = inverse_root(variance + u.epsilon);
    for (std::int64_t i = 0; i < u.width; ++i) row[i] = (row[i] - mean) * inverse * u.weight[i] + u.bias[i];
  }
  float squares = sum_row(u.width, [&](std::int64_t i) { return row[i] * row[i]; });
  // If the squares leave the range of float32, the row is scaled and they are computed again.
  if (squares < 1e-30F || squares > 1e30F) {
    const float lift = squares < 1e-30F ? 0x1p100F : 0x1p-100F;
    for (std::int64_t i = 0; i < u.width; ++i) row[i] *= lift;
    squares = sum_row(u.width, [&](std::int64_t i) { return row[i] * row[i]; });
  }
  const float factor = squares == 0.0F ? 0.0F : inverse_root(squares);
  for (std::int64_t i = 0; i < u.width; ++i) row[i] *= factor;
}

// One value per label of a block. Compilers keep a vector type in registers, but not the arrays of nested loops.
typedef float Labels __attribute__((vector_size(kHeadLabels * sizeof(float)), aligned(sizeof(float)), may_alias));

// Similarities of kCount tokens.
template <std::int64_t kCount>
PVLR_INLINE void compare(const HeadBlock& b, std::int64_t first) {
  const float* const x = b.x + first * b.width;
  Labels sums[kCount] = {};
  for (std::int64_t begin = 0; begin < b.width; begin += kSlice) {
    const std::int64_t end = std::min(begin + kSlice, b.width);
    Labels partial[kCount] = {};
    for (std::int64_t d = begin; d < end; ++d) {
      const Labels t = *reinterpret_cast<const Labels*>(b.t + d * kHeadLabels);
      for (std::int64_t n = 0; n < kCount; ++n) partial[n] += x[n * b.width + d] * t;
    }
    for (std::int64_t n = 0; n < kCount; ++n) sums[n] += partial[n];
  }
  for (std::int64_t n = 0; n < kCount; ++n) {
    *reinterpret_cast<Labels*>(b.similarity + (first + n) * kHeadLabels) = sums[n] * b.scale;
  }
}

// A sum over tokens for each label, 16 tokens at a time.
template <typename Term>
PVLR_INLINE void sum_tokens(std::int64_t tokens, const Term& term, float (&sums)[kHeadLabels]) {
  for (float& sum : sums) sum = 0.0F;
  for (std::int64_t first = 0; first < tokens; first += 16) {
    float partial[kHeadLabels] = {};
    const std::int64_t end = std::min<std::int64_t>(first + 16, tokens);
    for (std::int64_t n = first; n < end; ++n) {
      for (std::int64_t c = 0; c < kHeadLabels; ++c) partial[c] += term(n * kHeadLabels + c);
    }
    for (std::int64_t c = 0; c < kHeadLabels; ++c) sums[c] += partial[c];
  }
}

PVLR_INLINE void process_body(const HeadBlock& b) {
  std::int64_t done = 0;
  for (; done + kTokens <= b.tokens; done += kTokens) compare<kTokens>(b, done);
  for (; done < b.tokens; ++done) compare<1>(b, done);

  float maximum[kHeadLabels];
  for (float& one : maximum) one = -kInfinity;
  for (std::int64_t n = 0; n < b.tokens; ++n) {
    for (std::int64_t c = 0; c < kHeadLabels; ++c) {
      const float exponent = b.similarity[n * kHeadLabels + c] * b.alpha;
      maximum[c] = exponent > maximum[c] ? exponent : maximum[c];
    }
  }
  for (float& one : maximum) one = one == -kInfinity ? 0.0F : one;
  for (std::int64_t n = 0; n < b.tokens; ++n) {
    for (std::int64_t c = 0; c < kHeadLabels; ++c) {
      const std::int64_t at = n * kHeadLabels + c;
      b.weights[at] = exp_of_negative(b.similarity[at] * b.alpha - maximum[c]);
    }
  }
  float totals[kHeadLabels];
  sum_tokens(b.tokens, [&](std::int64_t at) { return b.weights[at]; }, totals);
  float sums[kHeadLabels];
  sum_tokens(b.tokens, [&](std::int64_t at) { return b.weights[at] * b.similarity[at]; }, sums);
  for (std::int64_t c = 0; c < kHeadLabels; ++c) b.pooled[c] = sums[c] / totals[c];
  for (std::int64_t n = 0; n < b.tokens; ++n) {
    for (std::int64_t c = 0; c < kHeadLabels; ++c) b.weights[n * kHeadLabels + c] /= totals[c];
  }
}

PVLR_VERSIONS(make_unit, UnitRow)
PVLR_VERSIONS(process, HeadBlock)

}  // namespace

void make_unit_row(const UnitRow& row) {
  static const auto best = PVLR_BEST(make_unit);
  best(row);
}

void process_head_block(const HeadBlock& block) {
  static const auto best = PVLR_BEST(process);
  best(block);
}

}  // namespace pvlr
