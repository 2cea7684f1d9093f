// The weights of an antialiased triangle filter along one axis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pvlr {

// Output i is the sum over k < count(i) of weights(i)[k] * input[first(i) + k]. Weights from count(i) to taps() are
// zero and first(i) + taps() is inside the input, so that a loop may run over all taps().
class AxisFilter {
 public:
  // Computes the weights; does nothing if the sizes are those of the last call.
  void prepare(std::int64_t input_size, std::int64_t output_size);

  std::int64_t size() const { return output_size_; }
  std::int64_t taps() const { return taps_; }
  std::int64_t first(std::int64_t i) const { return first_[static_cast<std::size_t>(i)]; }
  std::int64_t count(std::int64_t i) const { return count_[static_cast<std::size_t>(i)]; }
  const float* weights(std::int64_t i) const { return weights_.data() + i * taps_; }

 private:
  std::int64_t input_size_ = 0;
  std::int64_t output_size_ = 0;
  std::int64_t taps_ = 0;
  std::vector<std::int64_t> first_;
  std::vector<std::int64_t> count_;
  std::vector<float> weights_;  // taps_ per output
};

}  // namespace pvlr
