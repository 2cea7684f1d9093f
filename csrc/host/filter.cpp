#include "filter.h"

#include <algorithm>
#include <cmath>

namespace pvlr {

void AxisFilter::prepare(std::int64_t input_size, std::int64_t output_size) {
  if (input_size == input_size_ && output_size == output_size_) return;
  input_size_ = 0;  // stays invalid if an allocation below throws

  const double scale = static_cast<double>(input_size) / static_cast<double>(output_size);
  const double support = std::max(scale, 1.0);
  max_count_ = std::min(input_size, 2 * static_cast<std::int64_t>(std::ceil(support)) + 1);
  const auto rows = static_cast<std::size_t>(output_size);
  first_.resize(rows);
  count_.resize(rows);
  weights_.resize(rows * static_cast<std::size_t>(max_count_));

  for (std::int64_t i = 0; i < output_size; ++i) {
    const double centre = scale * (static_cast<double>(i) + 0.5);
    const auto begin = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support + 0.5), 0);
    const auto end = std::min<std::int64_t>(static_cast<std::int64_t>(centre + support + 0.5), input_size);
    const std::int64_t count = std::min(end - begin, max_count_);

    const auto triangle = [&](std::int64_t k) {
      return std::max(0.0, 1.0 - std::abs((static_cast<double>(begin + k) - centre + 0.5) / support));
    };
    double sum = 0.0;
    for (std::int64_t k = 0; k < count; ++k) sum += triangle(k);
    float* weights = weights_.data() + i * max_count_;
    for (std::int64_t k = 0; k < count; ++k) weights[k] = static_cast<float>(triangle(k) / sum);

    first_[static_cast<std::size_t>(i)] = begin;
    count_[static_cast<std::size_t>(i)] = count;
  }
  input_size_ = input_size;
  output_size_ = output_size;
}

}  // namespace pvlr
