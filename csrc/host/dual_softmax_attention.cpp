#include "pvlr/dual_softmax_attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <new>
#include <vector>

#include "dual_softmax_attention_loops.h"
#include "float_types.h"
#include "parallel.h"

namespace pvlr {
namespace {

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

template <typename T>
const T* row_of(const void* tensor, const AttentionStrides& s, std::int64_t batch, std::int64_t head,
                std::int64_t row) {
  return static_cast<const T*>(tensor) + batch * s.batch + head * s.head + row * s.row;
}
template <typename T>
T* row_of(void* tensor, const AttentionStrides& s, std::int64_t batch, std::int64_t head, std::int64_t row) {
  return static_cast<T*>(tensor) + batch * s.batch + head * s.head + row * s.row;
}

template <typename T>
void load_labels(const DualSoftmaxAttentionParams& p, std::int64_t batch, std::int64_t head, Scratch& s) {
  for (std::int64_t c = 0; c < p.labels; ++c) {
    const T* key = row_of<T>(p.k_t, p.k_t_strides, batch, head, c);
    const T* value = row_of<T>(p.v_t, p.v_t_strides, batch, head, c);
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
    const T* query = row_of<T>(p.q_x, p.q_x_strides, batch, head, first + n);
    const T* value = row_of<T>(p.v_x, p.v_x_strides, batch, head, first + n);
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
    best_attention_loops().process({count, p.labels, p.dim, s.q_x.data(), s.v_x.data(), s.k_t.data(), s.v_t.data(),
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

// Entries begin..end-1: all batch entries of a head, then those of the next, so that a bank that they share is unpacked
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

Status dual_softmax_attention_host(const DualSoftmaxAttentionParams& params) {
  const Status checked = check_dual_softmax_attention(params);
  if (!checked.ok()) return checked;
  const auto run = [&params](std::int64_t begin, std::int64_t end) {
    try {
      if (params.type == DataType::kFloat32) {
        run_entries<float>(params, begin, end);
      } else if (params.type == DataType::kFloat16) {
        run_entries<Half>(params, begin, end);
      } else {
        run_entries<Bfloat16>(params, begin, end);
      }
    } catch (const std::bad_alloc&) {
      return false;
    }
    return true;
  };
  if (for_ranges(params.batch * params.heads, params.threads, run)) return {};
  return {StatusCode::kLaunchFailed, "labels: not enough memory for the scratch arrays"};
}

}  // namespace pvlr
