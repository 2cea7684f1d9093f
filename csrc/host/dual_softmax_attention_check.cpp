#include "pvlr/dual_softmax_attention.h"
#include "strides.h"

namespace pvlr {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 20;

Status invalid(const char* message) { return {StatusCode::kInvalidArgument, message}; }

bool possible(std::int64_t size) { return size >= 1 && size <= kMost; }

bool rows_apart(const AttentionStrides& strides, const DualSoftmaxAttentionParams& p, std::int64_t rows) {
  return apart({{strides.batch, p.batch}, {strides.head, p.heads}, {strides.row, rows}}, p.dim);
}

}  // namespace

Status check_dual_softmax_attention(const DualSoftmaxAttentionParams& p) {
  if (!possible(p.batch)) return invalid("batch: must be between 1 and 2^20");
  if (!possible(p.heads)) return invalid("heads: must be between 1 and 2^20");
  if (!possible(p.tokens)) return invalid("tokens: must be between 1 and 2^20");
  if (!possible(p.labels)) return invalid("labels: must be between 1 and 2^20");
  if (p.dim != 32 && p.dim != 64 && p.dim != 96 && p.dim != 128) return invalid("dim: must be 32, 64, 96 or 128");
  if (p.type != DataType::kFloat32 && p.type != DataType::kFloat16 && p.type != DataType::kBfloat16) {
    return invalid("type: must be float32, float16 or bfloat16");
  }
  if (p.q_x == nullptr) return invalid("q_x: must not be null");
  if (p.k_t == nullptr) return invalid("k_t: must not be null");
  if (p.v_x == nullptr) return invalid("v_x: must not be null");
  if (p.v_t == nullptr) return invalid("v_t: must not be null");
  if (p.o_x == nullptr) return invalid("o_x: must not be null");
  if (p.o_t == nullptr) return invalid("o_t: must not be null");
  if (p.threads < 0 || p.threads > 1024) return invalid("threads: must be between 0 and 1024");
  if (!rows_apart(p.o_x_strides, p, p.tokens)) return invalid("o_x_strides: rows of the output must not overlap");
  if (!rows_apart(p.o_t_strides, p, p.labels)) return invalid("o_t_strides: rows of the output must not overlap");
  return {};
}

}  // namespace pvlr
