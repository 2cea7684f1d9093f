#include "pvlr/tag_head.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "host/common/check.h"
#include "host/common/parallel.h"
#include "loops.h"

namespace pvlr {
namespace {

bool whole(const TagHeadNorm& norm) { return (norm.weight == nullptr) == (norm.bias == nullptr); }

// What a thread keeps between calls, so that calls of the same sizes allocate nothing.
struct Scratch {
  std::vector<float> x, row, t, similarity, weights;

  void resize(const TagHeadParams& p) {
    x.resize(static_cast<std::size_t>(p.tokens * p.width));
    row.resize(static_cast<std::size_t>(p.width));
    t.resize(static_cast<std::size_t>(p.width * kHeadLabels));
    for (std::vector<float>* one : {&similarity, &weights})
      one->resize(static_cast<std::size_t>(p.tokens * kHeadLabels));
  }
};

template <typename T>
void load_unit(const T* from, const TagHeadParams& p, const TagHeadNorm& norm, float* to) {
  for (std::int64_t d = 0; d < p.width; ++d) to[d] = to_float(from[d]);
  make_unit_row({p.width, norm.weight, norm.bias, p.epsilon, to});
}

template <typename T>
void load_tokens(const TagHeadParams& p, std::int64_t batch, Scratch& s) {
  const T* const from = static_cast<const T*>(p.x) + batch * p.x_strides.batch;
  for (std::int64_t n = 0; n < p.tokens; ++n) load_unit(from + n * p.x_strides.row, p, p.x_norm, &s.x[0] + n * p.width);
}

// Transposed, and padded with zeros.
template <typename T>
void load_labels(const TagHeadParams& p, std::int64_t batch, std::int64_t first, std::int64_t count, Scratch& s) {
  std::fill(s.t.begin(), s.t.end(), 0.0F);
  const T* const from = static_cast<const T*>(p.t) + batch * p.t_strides.batch + first * p.t_strides.row;
  for (std::int64_t c = 0; c < count; ++c) {
    load_unit(from + c * p.t_strides.row, p, p.t_norm, s.row.data());
    for (std::int64_t d = 0; d < p.width; ++d) {
      s.t[static_cast<std::size_t>(d * kHeadLabels + c)] = s.row[static_cast<std::size_t>(d)];
    }
  }
}

void store_label(const TagHeadParams& p, std::int64_t batch, std::int64_t label, float pooled) {
  const std::int64_t at = batch * p.labels + label;
  const float logit = pooled + (p.bias == nullptr ? 0.0F : p.bias[label]);
  const float small = std::exp(-std::fabs(logit));
  const float score = (logit >= 0.0F ? 1.0F : small) / (1.0F + small);
  p.logits[at] = logit;
  if (p.scores != nullptr) p.scores[at] = score;
  if (p.tags != nullptr) p.tags[at] = score >= p.thresholds[label] ? 1 : 0;
  if (p.nonfinite != nullptr) p.nonfinite[at] = std::isfinite(logit) ? 0 : 1;
}

// The maps of labels first..first+count-1.
void store_maps(const TagHeadParams& p, std::int64_t batch, std::int64_t first, std::int64_t count, const Scratch& s) {
  if (p.maps == nullptr) return;
  const float* const values = p.maps_kind == TagHeadMap::kWeights ? s.weights.data() : s.similarity.data();
  const std::int64_t begin = p.chosen == nullptr ? first : 0;
  const std::int64_t end = p.chosen == nullptr ? std::min(first + count, p.maps_count) : p.maps_count;
  for (std::int64_t map = begin; map < end; ++map) {
    const std::int64_t column = (p.chosen == nullptr ? map : p.chosen[map]) - first;
    if (column < 0 || column >= count) continue;
    float* const to = p.maps + batch * p.maps_batch_stride + map * p.maps_label_stride;
    for (std::int64_t n = 0; n < p.tokens; ++n) to[n * p.maps_token_stride] = values[n * kHeadLabels + column];
  }
}

// Label blocks begin..end-1, counted over all images.
template <typename T>
void run_blocks(const TagHeadParams& p, std::int64_t begin, std::int64_t end) {
  thread_local Scratch scratch;
  scratch.resize(p);
  const std::int64_t blocks = (p.labels + kHeadLabels - 1) / kHeadLabels;
  std::int64_t loaded = -1;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t batch = i / blocks;
    const std::int64_t first = i % blocks * kHeadLabels;
    const std::int64_t count = std::min(kHeadLabels, p.labels - first);
    if (batch != loaded) load_tokens<T>(p, batch, scratch);
    loaded = batch;
    load_labels<T>(p, batch, first, count, scratch);
    float pooled[kHeadLabels];
    process_head_block({p.tokens, p.width, scratch.x.data(), scratch.t.data(), p.scale, p.alpha,
                        scratch.similarity.data(), scratch.weights.data(), pooled});
    for (std::int64_t c = 0; c < count; ++c) store_label(p, batch, first + c, pooled[c]);
    store_maps(p, batch, first, count, scratch);
  }
}

}  // namespace

Status check_tag_head(const TagHeadParams& p) {
  if (!is_size(p.batch)) return invalid("batch: must be between 1 and 2^20");
  if (!is_size(p.tokens)) return invalid("tokens: must be between 1 and 2^20");
  if (!is_size(p.labels)) return invalid("labels: must be between 1 and 2^20");
  if (p.width < 8 || p.width > 1024 || p.width % 8 != 0) {
    return invalid("width: must be a multiple of 8 between 8 and 1024");
  }
  PVLR_RETURN_IF_ERROR(check_common(p.type, p.threads));
  if (p.x == nullptr) return invalid("x: must not be null");
  if (p.t == nullptr) return invalid("t: must not be null");
  if (!whole(p.x_norm)) return invalid("x_norm: weight and bias must both be given, or neither");
  if (!whole(p.t_norm)) return invalid("t_norm: weight and bias must both be given, or neither");
  if (!std::isfinite(p.scale)) return invalid("scale: must be finite");
  if (!std::isfinite(p.alpha)) return invalid("alpha: must be finite");
  if (!(p.epsilon >= 0.0F) || !std::isfinite(p.epsilon)) return invalid("epsilon: must be finite and not negative");
  if (p.logits == nullptr) return invalid("logits: must not be null");
  if (p.tags != nullptr && p.thresholds == nullptr) return invalid("thresholds: must be given for tags");
  if (p.maps == nullptr) return {};
  if (!is_size(p.maps_count)) return invalid("maps_count: must be between 1 and 2^20");
  if (p.chosen == nullptr && p.maps_count > p.labels) {
    return invalid("maps_count: must be at most the number of labels, unless they are chosen");
  }
  if (p.maps_kind != TagHeadMap::kWeights && p.maps_kind != TagHeadMap::kSimilarity) {
    return invalid("maps_kind: must be weights or similarity");
  }
  const bool whole_maps = disjoint(
      {{p.maps_batch_stride, p.batch}, {p.maps_label_stride, p.maps_count}, {p.maps_token_stride, p.tokens}}, 1);
  if (!whole_maps) return invalid("maps_strides: elements of the maps must not overlap");
  return {};
}

Status tag_head_host(const TagHeadParams& params) {
  PVLR_RETURN_IF_ERROR(check_tag_head(params));
  const std::int64_t blocks = (params.labels + kHeadLabels - 1) / kHeadLabels;
  return run_typed(params.type, params.batch * blocks, params.threads,
                   "tokens: not enough memory for the scratch arrays",
                   [&params](auto element, std::int64_t begin, std::int64_t end) {
                     run_blocks<decltype(element)>(params, begin, end);
                   });
}

}  // namespace pvlr
