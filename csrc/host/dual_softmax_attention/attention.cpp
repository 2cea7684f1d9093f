// The reference: scalar code in double, for tests and for arrays on the CPU. It is not fast.
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "host/common/check.h"
#include "host/common/parallel.h"
#include "pvlr/dual_softmax_attention.h"

namespace pvlr {
namespace {

bool rows_disjoint(const AttentionStrides& strides, const DualSoftmaxAttentionParams& p, std::int64_t rows) {
  return disjoint({{strides.batch, p.batch}, {strides.head, p.heads}, {strides.row, rows}}, p.dim);
}

// T is const for inputs.
template <typename T, typename Memory>
T* row_of(Memory* tensor, const AttentionStrides& s, std::int64_t batch, std::int64_t head, std::int64_t row) {
  return static_cast<T*>(tensor) + batch * s.batch + head * s.head + row * s.row;
}

// One head's rows, packed.
template <typename T>
std::vector<float> load(const void* tensor, const AttentionStrides& s, std::int64_t batch, std::int64_t head,
                        std::int64_t rows, std::int64_t dim) {
  std::vector<float> loaded;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* from = row_of<const T>(tensor, s, batch, head, row);
    for (std::int64_t d = 0; d < dim; ++d) loaded.push_back(to_float(from[d]));
  }
  return loaded;
}

// The softmax of a query's products with all keys, times the values. Masked keys have no weight; without a key that is
// not masked the result is zero.
template <typename T>
void attend(const float* query, const std::vector<float>& keys, const std::vector<float>& values,
            const std::uint8_t* mask, std::size_t dim, T* out) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  std::vector<double> scores(keys.size() / dim, -kInfinity);
  double largest = -kInfinity;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (mask != nullptr && mask[i] == 0) continue;
    double product = 0.0;
    for (std::size_t d = 0; d < dim; ++d) product += double{query[d]} * keys[i * dim + d];
    scores[i] = product * scale;
    if (scores[i] > largest) largest = scores[i];
  }
  std::vector<double> sums(dim);
  double total = 0.0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double weight = scores[i] == -kInfinity ? 0.0 : std::exp(scores[i] - largest);
    total += weight;
    for (std::size_t d = 0; d < dim; ++d) sums[d] += weight * values[i * dim + d];
  }
  for (std::size_t d = 0; d < dim; ++d) from_float(total == 0.0 ? 0.0F : static_cast<float>(sums[d] / total), out + d);
}

template <typename T>
void run_head(const DualSoftmaxAttentionParams& p, std::int64_t batch, std::int64_t head) {
  const auto dim = static_cast<std::size_t>(p.dim);
  const auto q_x = load<T>(p.q_x, p.q_x_strides, batch, head, p.tokens, p.dim);
  const auto k_t = load<T>(p.k_t, p.k_t_strides, batch, head, p.labels, p.dim);
  const auto v_x = load<T>(p.v_x, p.v_x_strides, batch, head, p.tokens, p.dim);
  const auto v_t = load<T>(p.v_t, p.v_t_strides, batch, head, p.labels, p.dim);
  const std::uint8_t* const mask = p.mask == nullptr ? nullptr : p.mask + batch * p.mask_batch_stride;
  for (std::int64_t n = 0; n < p.tokens; ++n) {
    attend(&q_x[static_cast<std::size_t>(n) * dim], k_t, v_t, mask, dim,
           row_of<T>(p.o_x, p.o_x_strides, batch, head, n));
  }
  for (std::int64_t c = 0; c < p.labels; ++c) {
    T* const out = row_of<T>(p.o_t, p.o_t_strides, batch, head, c);
    if (mask == nullptr || mask[c] != 0) {
      attend(&k_t[static_cast<std::size_t>(c) * dim], q_x, v_x, nullptr, dim, out);
    } else {
      for (std::size_t d = 0; d < dim; ++d) from_float(0.0F, out + d);
    }
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
                     for (std::int64_t i = begin; i < end; ++i) {
                       run_head<decltype(element)>(params, i / params.heads, i % params.heads);
                     }
                   });
}

}  // namespace pvlr
