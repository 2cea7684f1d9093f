#include "filter.h"

#include <algorithm>

#include "pvlr/triangle_filter.h"

namespace pvlr {

void AxisFilter::prepare(std::int64_t input_size, std::int64_t output_size) {
  if (input_size == input_size_ && output_size == output_size_) return;
  input_size_ = 0;  // stays invalid if an allocation below throws

  const TriangleFilter<std::int64_t> filter{input_size, output_size};
  const auto outputs = static_cast<std::size_t>(output_size);
  first_.resize(outputs);
  count_.resize(outputs);
  taps_ = 0;
  for (std::size_t i = 0; i < outputs; ++i) {
    first_[i] = filter.begin(static_cast<std::int64_t>(i));
    count_[i] = filter.end(static_cast<std::int64_t>(i)) - first_[i];
    taps_ = std::max(taps_, count_[i]);
  }

  weights_.assign(outputs * static_cast<std::size_t>(taps_), 0.0F);
  for (std::size_t i = 0; i < outputs; ++i) {
    const auto weight = [&](std::int64_t k) {
      return static_cast<double>(filter.weight(static_cast<std::int64_t>(i), first_[i] + k));
    };
    double sum = 0.0;
    for (std::int64_t k = 0; k < count_[i]; ++k) sum += weight(k);

    // A window at the far end starts earlier, with weights of zero, so that first + taps stays inside the input.
    const std::int64_t shift = std::max<std::int64_t>(first_[i] + taps_ - input_size, 0);
    float* weights = weights_.data() + static_cast<std::int64_t>(i) * taps_ + shift;
    for (std::int64_t k = 0; k < count_[i]; ++k) weights[k] = static_cast<float>(weight(k) / sum);
    first_[i] -= shift;
    count_[i] += shift;
  }
  input_size_ = input_size;
  output_size_ = output_size;
}

}  // namespace pvlr
