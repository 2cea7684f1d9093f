#include "loops.h"

#include <algorithm>
#include <limits>

#include "host/common/vector_code.h"

namespace pvlr {
namespace {

constexpr std::int64_t kScoreLabels = 32;  // sums that stay in registers
constexpr float kInfinity = std::numeric_limits<float>::infinity();

PVLR_INLINE float finite(float maximum) { return maximum == -kInfinity ? 0.0F : maximum; }

// Adds q[d] * k_t[d][first..first+count) for 16 dimensions to sums. Partial sums keep rounding errors small.
PVLR_INLINE void add_products(const AttentionBlock& b, const float* q, std::int64_t dim, std::int64_t first,
                              std::int64_t count, float* sums) {
  float partial[kScoreLabels] = {};
  for (std::int64_t d = dim; d < dim + 16; ++d) {
    const float* k = b.k_t + d * b.labels + first;
    for (std::int64_t c = 0; c < count; ++c) partial[c] += q[d] * k[c];
  }
  for (std::int64_t c = 0; c < count; ++c) sums[c] += partial[c];
}

PVLR_INLINE void compute_scores(const AttentionBlock& b) {
  for (std::int64_t first = 0; first < b.labels; first += kScoreLabels) {
    const std::int64_t count = std::min(kScoreLabels, b.labels - first);
    for (std::int64_t n = 0; n < b.tokens; ++n) {
      const float* q = b.q_x + n * b.dim;
      float sums[kScoreLabels] = {};
      for (std::int64_t d = 0; d < b.dim; d += 16) {
        if (count == kScoreLabels) {
          add_products(b, q, d, first, kScoreLabels, sums);  // a constant count compiles to branch-free vector code
        } else {
          add_products(b, q, d, first, count, sums);
        }
      }
      float* row = b.scores + n * b.labels + first;
      for (std::int64_t c = 0; c < count; ++c) row[c] = b.bias[first + c] == 0.0F ? sums[c] : -kInfinity;
    }
  }
}

// The online softmax over tokens: label_rescale is the factor by which this block's maxima change earlier sums.
PVLR_INLINE void label_softmax(const AttentionBlock& b) {
  for (std::int64_t c = 0; c < b.labels; ++c) {
    float largest = b.label_maximum[c];
    for (std::int64_t n = 0; n < b.tokens; ++n) {
      const float score = b.scores[n * b.labels + c];
      largest = score > largest ? score : largest;
    }
    b.label_rescale[c] = exp_of_negative(b.label_maximum[c] - finite(largest));
    b.label_maximum[c] = largest;
    b.label_weight[c] *= b.label_rescale[c];
  }
  for (std::int64_t n = 0; n < b.tokens; ++n) {
    const float* scores = b.scores + n * b.labels;
    float* weights = b.weights + n * b.labels;
    for (std::int64_t c = 0; c < b.labels; ++c) weights[c] = exp_of_negative(scores[c] - finite(b.label_maximum[c]));
  }
  for (std::int64_t c = 0; c < b.labels; ++c) {
    float sum = 0.0F;
    for (std::int64_t n = 0; n < b.tokens; ++n) sum += b.weights[n * b.labels + c];
    b.label_weight[c] += sum;
  }
}

template <std::int64_t kDim>
PVLR_INLINE void add_to_labels(const AttentionBlock& b) {
  for (std::int64_t c = 0; c < b.labels; ++c) {
    float* to = b.label_sums + c * kDim;
    float sums[kDim] = {};
    for (std::int64_t n = 0; n < b.tokens; ++n) {
      const float weight = b.weights[n * b.labels + c];
      const float* value = b.v_x + n * kDim;
      for (std::int64_t d = 0; d < kDim; ++d) sums[d] += weight * value[d];
    }
    for (std::int64_t d = 0; d < kDim; ++d) to[d] = to[d] * b.label_rescale[c] + sums[d];
  }
}

// The softmax over labels, complete in one block, and o_x.
template <std::int64_t kDim>
PVLR_INLINE void token_softmax(const AttentionBlock& b) {
  for (std::int64_t n = 0; n < b.tokens; ++n) {
    const float* scores = b.scores + n * b.labels;
    float* weights = b.weights + n * b.labels;
    float largest = -kInfinity;
    for (std::int64_t c = 0; c < b.labels; ++c) largest = scores[c] > largest ? scores[c] : largest;
    const float subtracted = finite(largest);
    for (std::int64_t c = 0; c < b.labels; ++c) weights[c] = exp_of_negative(scores[c] - subtracted);
    float total = 0.0F;
    float sums[kDim] = {};
    for (std::int64_t first = 0; first < b.labels; first += 16) {  // partial sums keep rounding errors small
      float partial_total = 0.0F;
      float partial[kDim] = {};
      const std::int64_t end = std::min(first + 16, b.labels);
      for (std::int64_t c = first; c < end; ++c) {
        const float* value = b.v_t + c * kDim;
        for (std::int64_t d = 0; d < kDim; ++d) partial[d] += weights[c] * value[d];
        partial_total += weights[c];
      }
      for (std::int64_t d = 0; d < kDim; ++d) sums[d] += partial[d];
      total += partial_total;
    }
    const float inverse = total == 0.0F ? 0.0F : 1.0F / total;
    for (std::int64_t d = 0; d < kDim; ++d) b.o_x[n * kDim + d] = sums[d] * inverse;
  }
}

template <std::int64_t kDim>
PVLR_INLINE void process_dim(const AttentionBlock& b) {
  compute_scores(b);
  label_softmax(b);
  add_to_labels<kDim>(b);
  token_softmax<kDim>(b);
}

PVLR_INLINE void process_body(const AttentionBlock& b) {
  if (b.dim == 32) return process_dim<32>(b);
  if (b.dim == 64) return process_dim<64>(b);
  if (b.dim == 96) return process_dim<96>(b);
  process_dim<128>(b);
}

PVLR_VERSIONS(process, AttentionBlock)

}  // namespace

void process_attention_block(const AttentionBlock& block) {
  static const auto best = PVLR_BEST(process);
  best(block);
}

}  // namespace pvlr
