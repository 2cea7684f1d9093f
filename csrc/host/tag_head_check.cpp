#include <cmath>

#include "pvlr/tag_head.h"
#include "strides.h"

namespace pvlr {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 20;

Status invalid(const char* message) { return {StatusCode::kInvalidArgument, message}; }

bool possible(std::int64_t size) { return size >= 1 && size <= kMost; }

bool whole(const TagHeadNorm& norm) { return (norm.weight == nullptr) == (norm.bias == nullptr); }

}  // namespace

Status check_tag_head(const TagHeadParams& p) {
  if (!possible(p.batch)) return invalid("batch: must be between 1 and 2^20");
  if (!possible(p.tokens)) return invalid("tokens: must be between 1 and 2^20");
  if (!possible(p.labels)) return invalid("labels: must be between 1 and 2^20");
  if (p.width < 8 || p.width > 1024 || p.width % 8 != 0) {
    return invalid("width: must be a multiple of 8 between 8 and 1024");
  }
  if (p.type != DataType::kFloat32 && p.type != DataType::kFloat16 && p.type != DataType::kBfloat16) {
    return invalid("type: must be float32, float16 or bfloat16");
  }
  if (p.x == nullptr) return invalid("x: must not be null");
  if (p.t == nullptr) return invalid("t: must not be null");
  if (!whole(p.x_norm)) return invalid("x_norm: weight and bias must both be given, or neither");
  if (!whole(p.t_norm)) return invalid("t_norm: weight and bias must both be given, or neither");
  if (!std::isfinite(p.scale)) return invalid("scale: must be finite");
  if (!std::isfinite(p.alpha)) return invalid("alpha: must be finite");
  if (!(p.epsilon >= 0.0F) || !std::isfinite(p.epsilon)) return invalid("epsilon: must be finite and not negative");
  if (p.logits == nullptr) return invalid("logits: must not be null");
  if (p.tags != nullptr && p.thresholds == nullptr) return invalid("thresholds: must be given for tags");
  if (p.threads < 0 || p.threads > 1024) return invalid("threads: must be between 0 and 1024");
  if (p.maps == nullptr) return {};
  if (!possible(p.maps_count)) return invalid("maps_count: must be between 1 and 2^20");
  if (p.chosen == nullptr && p.maps_count > p.labels) {
    return invalid("maps_count: must be at most the number of labels, unless they are chosen");
  }
  if (p.maps_kind != TagHeadMap::kWeights && p.maps_kind != TagHeadMap::kSimilarity) {
    return invalid("maps_kind: must be weights or similarity");
  }
  const bool whole_maps =
      apart({{p.maps_batch_stride, p.batch}, {p.maps_label_stride, p.maps_count}, {p.maps_token_stride, p.tokens}}, 1);
  if (!whole_maps) return invalid("maps_strides: elements of the maps must not overlap");
  return {};
}

}  // namespace pvlr
