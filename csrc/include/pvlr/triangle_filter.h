// The antialiased triangle filter along one axis: what torch's interpolate(mode="bilinear", antialias=True,
// align_corners=False) computes, for the CPU and the kernels.
#pragma once

#include "pvlr/common.h"

namespace pvlr {

// Output i has its centre at (i + 1/2) * inputs / outputs, input k at k + 1/2; the triangle ends max(1, inputs /
// outputs) from its centre. In units of 1 / (2 * outputs) all of these are whole numbers, so that weights are exact.
// Output i is the sum of weight(i, k) * input k over begin(i) <= k < end(i), divided by the sum of the weights.
// Integer must hold 2 * inputs * outputs + 4 * max(inputs, outputs).
template <typename Integer>
struct TriangleFilter {
  Integer inputs;
  Integer outputs;

  PVLR_HOST_DEVICE constexpr Integer reach() const { return 2 * (inputs > outputs ? inputs : outputs); }
  // From one input to the next, distances grow by this.
  PVLR_HOST_DEVICE constexpr Integer step() const { return 2 * outputs; }
  PVLR_HOST_DEVICE constexpr Integer distance(Integer i, Integer k) const {
    return (2 * k + 1) * outputs - (2 * i + 1) * inputs;
  }
  PVLR_HOST_DEVICE constexpr Integer weight(Integer i, Integer k) const {
    const Integer d = distance(i, k);
    return reach() - (d < 0 ? -d : d);
  }

  // The inputs with a positive weight.
  PVLR_HOST_DEVICE constexpr Integer begin(Integer i) const {
    const Integer before = -distance(i, 0) - reach();
    return before < 0 ? 0 : before / step() + 1;
  }
  PVLR_HOST_DEVICE constexpr Integer end(Integer i) const {
    const Integer last = (reach() - distance(i, 0) + step() - 1) / step();
    return last < inputs ? last : inputs;
  }
};

}  // namespace pvlr
