#include "filter.h"

#include <algorithm>
#include <cmath>

namespace pvlr {

void AxisFilter::prepare(std::int64_t input_size, std::int64_t output_size) {
  if (input_size == input_size_ && output_size == output_size_) return;
  input_size_ = 0;  // stays invalid if an allocation below throws

  const double scale = static_cast<double>(input_size) / static_cast<double>(output_size);
  const double support = std::max(scale, 1.0);
  const auto outputs = static_cast<std::size_t>(output_size);
  first_.resize(outputs);
  count_.resize(outputs);
  taps_ = 0;
  for (std::size_t i = 0; i < outputs; ++i) {
    const double centre = scale * (static_cast<double>(i) + 0.5);
    first_[i] = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support + 0.5), 0);
    count_[i] = std::min<std::int64_t>(static_cast<std::int64_t>(centre + support + 0.5), input_size) - first_[i];
    taps_ = std::max(taps_, count_[i]);
  }

  weights_.assign(outputs * static_cast<std::size_t>(taps_), 0.0F);
  for (std::size_t i = 0; i < outputs; ++i) {
    const double centre = scale * (static_cast<double>(i) + 0.5);
    const auto triangle = [&](std::int64_t k) {
      const double distance = std::abs(static_cast<double>(first_[i] + k) + 0.5 - centre);
      return std::max(0.0, 1.0 - distance / support);
    };
    double sum = 0.0;
    for (std::int64_t k = 0; k < count_[i]; ++k) sum += triangle(k);

    // A window at the far end starts earlier, with weights of zero, so that first + taps stays inside the input.
    const std::int64_t shift = std::max<std::int64_t>(first_[i] + taps_ - input_size, 0);
    float* weights = weights_.data() + static_cast<std::int64_t>(i) * taps_ + shift;
    for (std::int64_t k = 0; k < count_[i]; ++k) weights[k] = static_cast<float>(triangle(k) / sum);
    first_[i] -= shift;
    count_[i] += shift;
  }
  input_size_ = input_size;
  output_size_ = output_size;
}

}  // namespace pvlr
