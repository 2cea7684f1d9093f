// A kernel call whose arguments were checked once. Later calls take arrays of the same shapes, strides and types, and
// compare only these.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "tensor.h"

namespace pvlr::bindings {

class Prepared {
 public:
  static constexpr std::size_t kMostInputs = 4;
  using Inputs = std::array<const void*, kMostInputs>;
  // Runs with inputs at these addresses; `tensors` are all arguments, for their device and the streams to wait for.
  using Run = std::function<void(const Inputs& inputs, const std::vector<const Tensor*>& tensors)>;

  // `inputs` in the order of the call, at most kMostInputs; `fixed` are the same in every call. Null tensors are
  // skipped, the others are copied, which keeps their memory alive.
  Prepared(const std::vector<const Tensor*>& inputs, const std::vector<const Tensor*>& outputs,
           const std::vector<const Tensor*>& fixed, Run run);

  // Without arrays, runs with those that it was prepared with. An array is NumPy's or a Tensor. Returns whether it ran:
  // if not, an array differs from the prepared one, or overlaps an output.
  bool operator()(const pybind11::args& arrays) const;

 private:
  bool overlaps_output(const void* data, const Tensor& like) const;

  std::size_t count_;                             // of inputs
  std::size_t outputs_end_ = 0;                   // in tensors_
  std::vector<std::shared_ptr<Tensor>> tensors_;  // inputs, outputs, fixed
  std::vector<const Tensor*> given_;              // the same
  Inputs addresses_{};
  Run run_;
};

}  // namespace pvlr::bindings
