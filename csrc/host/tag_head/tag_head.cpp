// The reference: scalar code in double, for tests and for arrays on the CPU. It is not fast.
#include "pvlr/tag_head.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "host/common/check.h"
#include "host/common/parallel.h"

namespace pvlr {
namespace {

bool whole(const TagHeadNorm& norm) { return (norm.weight == nullptr) == (norm.bias == nullptr); }

// LN(row) divided by its Euclidean norm, for each row; zero if the norm is zero.
template <typename T>
std::vector<double> unit_rows(const void* tensor, std::int64_t offset, std::int64_t stride, std::int64_t rows,
                              std::int64_t width, const TagHeadNorm& norm, double epsilon) {
  std::vector<double> units;
  std::vector<double> row(static_cast<std::size_t>(width));
  const auto sum = [&row](const auto& term) {
    double total = 0.0;
    for (const double value : row) total += term(value);
    return total;
  };
  for (std::int64_t n = 0; n < rows; ++n) {
    const T* from = static_cast<const T*>(tensor) + offset + n * stride;
    for (double& value : row) value = to_float(*from++);
    if (norm.weight != nullptr) {
      const auto count = static_cast<double>(width);
      const double mean = sum([](double value) { return value; }) / count;
      const double variance = sum([mean](double value) { return (value - mean) * (value - mean); }) / count;
      for (std::size_t d = 0; d < row.size(); ++d) {
        row[d] = (row[d] - mean) / std::sqrt(variance + epsilon) * norm.weight[d] + norm.bias[d];
      }
    }
    const double length = std::sqrt(sum([](double value) { return value * value; }));
    for (const double value : row) units.push_back(length == 0.0 ? 0.0 : value / length);
  }
  return units;
}

void store_label(const TagHeadParams& p, std::int64_t batch, std::int64_t label, double pooled) {
  const std::int64_t at = batch * p.labels + label;
  const auto logit = static_cast<float>(pooled + (p.bias == nullptr ? 0.0F : p.bias[label]));
  const float small = std::exp(-std::fabs(logit));
  const float score = (logit >= 0.0F ? 1.0F : small) / (1.0F + small);
  p.logits[at] = logit;
  if (p.scores != nullptr) p.scores[at] = score;
  if (p.tags != nullptr) p.tags[at] = score >= p.thresholds[label] ? 1 : 0;
  if (p.nonfinite != nullptr) p.nonfinite[at] = std::isfinite(logit) ? 0 : 1;
}

// The label's maps: with `chosen` none, one or several.
void store_maps(const TagHeadParams& p, std::int64_t batch, std::int64_t label, const std::vector<double>& values) {
  for (std::int64_t map = 0; p.maps != nullptr && map < p.maps_count; ++map) {
    if ((p.chosen == nullptr ? map : p.chosen[map]) != label) continue;
    float* to = p.maps + batch * p.maps_batch_stride + map * p.maps_label_stride;
    for (const double value : values) {
      *to = static_cast<float>(value);
      to += p.maps_token_stride;
    }
  }
}

template <typename T>
void run_image(const TagHeadParams& p, std::int64_t batch) {
  const auto tokens = static_cast<std::size_t>(p.tokens);
  const auto width = static_cast<std::size_t>(p.width);
  const auto x = unit_rows<T>(p.x, batch * p.x_strides.batch, p.x_strides.row, p.tokens, p.width, p.x_norm, p.epsilon);
  const auto t = unit_rows<T>(p.t, batch * p.t_strides.batch, p.t_strides.row, p.labels, p.width, p.t_norm, p.epsilon);
  std::vector<double> similarity(tokens);
  std::vector<double> weights(tokens);
  for (std::int64_t label = 0; label < p.labels; ++label) {
    const double* const to = &t[static_cast<std::size_t>(label) * width];
    double largest = -std::numeric_limits<double>::infinity();
    for (std::size_t n = 0; n < tokens; ++n) {
      double cosine = 0.0;
      for (std::size_t d = 0; d < width; ++d) cosine += x[n * width + d] * to[d];
      similarity[n] = p.scale * cosine;
      if (p.alpha * similarity[n] > largest) largest = p.alpha * similarity[n];
    }
    double total = 0.0;
    for (std::size_t n = 0; n < tokens; ++n) total += weights[n] = std::exp(p.alpha * similarity[n] - largest);
    double pooled = 0.0;
    for (std::size_t n = 0; n < tokens; ++n) pooled += (weights[n] /= total) * similarity[n];
    store_label(p, batch, label, pooled);
    store_maps(p, batch, label, p.maps_kind == TagHeadMap::kWeights ? weights : similarity);
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
  return run_typed(params.type, params.batch, params.threads, "tokens: not enough memory for the scratch arrays",
                   [&params](auto element, std::int64_t begin, std::int64_t end) {
                     for (std::int64_t i = begin; i < end; ++i) run_image<decltype(element)>(params, i);
                   });
}

}  // namespace pvlr
