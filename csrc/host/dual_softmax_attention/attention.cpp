#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "host/common/check.h"
#include "host/common/parallel.h"
#include "loops.h"
#include "pvlr/dual_softmax_attention.h"

namespace pvlr {
namespace {

bool rows_disjoint(const AttentionStrides& strides, const DualSoftmaxAttentionParams& p, std::int64_t rows) {
  return disjoint({{strides.batch, p.batch}, {strides.head, p.heads}, {strides.row, rows}}, p.dim);
}

// What a thread keeps between calls, so that calls of the same sizes allocate nothing.
struct Scratch {
  std::vector<float> q_x, v_x, k_t, v_t, bias, scores, weights, o_x, maximum, weight, sums, rescale;

  void resize(const DualSoftmaxAttentionParams& p) {
    const auto labels = static_cast<std::size_t>(p.labels);
    const auto dim = static_cast<std::size_t>(p.dim);
    const auto tokens = static_cast<std::size_t>(kAttentionTokens);
    for (std::vector<float>* one : {&q_x, &v_x, &o_x}) one->resize(tokens * dim);
    for (std::vector<float>* one : {&k_t, &v_t, &sums}) one->resize(labels * dim);
    for (std::vector<float>* one : {&scores, &weights}) one->resize(labels * tokens);
    for (std::vector<float>* one : {&bias, &maximum, &weight, &rescale}) one->resize(labels);
  }
};

// T is const for inputs.
template <typename T, typename Memory>
T* row_of(Memory* tensor, const AttentionStrides& s, std::int64_t batch, std::int64_t head, std::int64_t row) {
  return static_cast<T*>(tensor) + batch * s.batch + head * s.head + row * s.row;
}

template <typename T>
void load_labels(const DualSoftmaxAttentionParams& p, std::int64_t batch, std::int64_t head, Scratch& s) {
  for (std::int64_t c = 0; c < p.labels; ++c) {
    const T* key = row_of<const T>(p.k_t, p.k_t_strides, batch, head, c);
    const T* value = row_of<const T>(p.v_t, p.v_t_strides, batch, head, c);
    for (std::int64_t d = 0; d < p.dim; ++d) {
      s.k_t[static_cast<std::size_t>(d * p.labels + c)] = to_float(key[d]);
      s.v_t[static_cast<std::size_t>(c * p.dim + d)] = to_float(value[d]);
    }
  }
}

template <typename T>
void load_tokens(const DualSoftmaxAttentionParams& p, std::int64_t batch, std::int64_t head, std::int64_t first,
                 std::int64_t count, Scratch& s) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(p.dim));
  for (std::int64_t n = 0; n < count; ++n) {
    const T* query = row_of<const T>(p.q_x, p.q_x_strides, batch, head, first + n);
    const T* value = row_of<const T>(p.v_x, p.v_x_strides, batch, head, first + n);
    for (std::int64_t d = 0; d < p.dim; ++d) {
      s.q_x[static_cast<std::size_t>(n * p.dim + d)] = to_float(query[d]) * scale;
      s.v_x[static_cast<std::size_t>(n * p.dim + d)] = to_float(value[d]);
    }
  }
}

template <typename T>
void store_row(const float* values, float factor, std::int64_t dim, T* to) {
  for (std::int64_t d = 0; d < dim; ++d) from_float(values[d] * factor, to + d);
}

template <typename T>
void run_head(const DualSoftmaxAttentionParams& p, std::int64_t batch, std::int64_t head, Scratch& s) {
  std::fill(s.maximum.begin(), s.maximum.end(), -std::numeric_limits<float>::infinity());
  std::fill(s.weight.begin(), s.weight.end(), 0.0F);
  std::fill(s.sums.begin(), s.sums.end(), 0.0F);
  for (std::int64_t first = 0; first < p.tokens; first += kAttentionTokens) {
    const std::int64_t count = std::min(kAttentionTokens, p.tokens - first);
    load_tokens<T>(p, batch, head, first, count, s);
    process_attention_block({count, p.labels, p.dim, s.q_x.data(), s.v_x.data(), s.k_t.data(), s.v_t.data(),
                             s.bias.data(), s.scores.data(), s.weights.data(), s.o_x.data(), s.maximum.data(),
                             s.weight.data(), s.sums.data(), s.rescale.data()});
    for (std::int64_t n = 0; n < count; ++n) {
      store_row(s.o_x.data() + n * p.dim, 1.0F, p.dim, row_of<T>(p.o_x, p.o_x_strides, batch, head, first + n));
    }
  }
  for (std::int64_t c = 0; c < p.labels; ++c) {
    const float weight = s.weight[static_cast<std::size_t>(c)];
    const float inverse = weight == 0.0F ? 0.0F : 1.0F / weight;
    store_row(s.sums.data() + c * p.dim, inverse, p.dim, row_of<T>(p.o_t, p.o_t_strides, batch, head, c));
  }
}

void load_mask(const DualSoftmaxAttentionParams& p, std::int64_t batch, Scratch& s) {
  const std::uint8_t* const mask = p.mask == nullptr ? nullptr : p.mask + batch * p.mask_batch_stride;
  for (std::int64_t c = 0; c < p.labels; ++c) {
    const bool takes_part = mask == nullptr || mask[c] != 0;
    s.bias[static_cast<std::size_t>(c)] = takes_part ? 0.0F : -std::numeric_limits<float>::infinity();
  }
}

// Entries begin..end-1: all batch entries of a head, then those of the next, so that a shared label bank is unpacked
// once.
template <typename T>
void run_entries(const DualSoftmaxAttentionParams& p, std::int64_t begin, std::int64_t end) {
  thread_local Scratch scratch;
  scratch.resize(p);
  const bool shared = p.k_t_strides.batch == 0 && p.v_t_strides.batch == 0;
  std::int64_t loaded = -1;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t head = i / p.batch;
    const std::int64_t batch = i % p.batch;
    load_mask(p, batch, scratch);
    if (head != loaded || !shared) load_labels<T>(p, batch, head, scratch);
    loaded = head;
    run_head<T>(p, batch, head, scratch);
  }
}

}  // namespace

Status check_dual_softmax_attention(const DualSoftmaxAttentionParams& p) {
  if (!is_size(p.batch)) return invalid("batch: must be between 1 and 2^20");
  if (!is_size(p.heads)) return invalid("heads: must be between 1 and 2^20");
  if (!is_size(p.tokens)) return invalid("tokens: must be between 1 and 2^20");
  if (!is_size(p.labels)) return invalid("labels: must be between 1 and 2^20");
  if (p.dim != 32 && p.dim != 64 && p.dim != 96 && p.dim != 128) return invalid("dim: must be 32, 64, 96 or 128");
  PVLR_RETURN_IF_ERROR(check_common(p.type, p.threads));
  if (p.q_x == nullptr) return invalid("q_x: must not be null");
  if (p.k_t == nullptr) return invalid("k_t: must not be null");
  if (p.v_x == nullptr) return invalid("v_x: must not be null");
  if (p.v_t == nullptr) return invalid("v_t: must not be null");
  if (p.o_x == nullptr) return invalid("o_x: must not be null");
  if (p.o_t == nullptr) return invalid("o_t: must not be null");
  if (!rows_disjoint(p.o_x_strides, p, p.tokens)) return invalid("o_x_strides: rows of the output must not overlap");
  if (!rows_disjoint(p.o_t_strides, p, p.labels)) return invalid("o_t_strides: rows of the output must not overlap");
  return {};
}

Status dual_softmax_attention_host(const DualSoftmaxAttentionParams& params) {
  PVLR_RETURN_IF_ERROR(check_dual_softmax_attention(params));
  return run_typed(params.type, params.batch * params.heads, params.threads,
                   "labels: not enough memory for the scratch arrays",
                   [&params](auto element, std::int64_t begin, std::int64_t end) {
                     run_entries<decltype(element)>(params, begin, end);
                   });
}

}  // namespace pvlr
