// The memory that a strided array spans, with checked arithmetic: sizes and strides come from other libraries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace pvlr::bindings {

using Extent = std::pair<std::uintptr_t, std::uintptr_t>;  // [begin, end) in bytes

// The address of the element `offset`; nothing if there is no such address.
inline std::optional<std::uintptr_t> address_of(std::uintptr_t data, std::int64_t offset, std::int64_t item_bytes) {
  std::int64_t bytes = 0;
  std::uintptr_t address = 0;
  if (__builtin_mul_overflow(offset, item_bytes, &bytes) || __builtin_add_overflow(data, bytes, &address)) return {};
  return address;
}

// What the elements span, {0, 0} if there are none; nothing if it is not in the range of addresses. Sizes are not
// negative, strides are in elements.
inline std::optional<Extent> extent_of(std::uintptr_t data, const std::vector<std::int64_t>& shape,
                                       const std::vector<std::int64_t>& strides, std::int64_t item_bytes) {
  std::int64_t lowest = 0;
  std::int64_t highest = 1;
  for (const std::int64_t size : shape) {
    if (size == 0) return Extent{0, 0};
  }
  for (std::size_t i = 0; i < shape.size(); ++i) {
    std::int64_t& bound = strides[i] < 0 ? lowest : highest;
    std::int64_t step = 0;
    if (__builtin_mul_overflow(shape[i] - 1, strides[i], &step) || __builtin_add_overflow(bound, step, &bound)) {
      return {};
    }
  }
  const auto begin = address_of(data, lowest, item_bytes);
  const auto end = address_of(data, highest, item_bytes);
  if (!begin || !end) return {};
  return Extent{*begin, *end};
}

// Strides of a C-contiguous array, in elements; nothing if they overflow.
inline std::optional<std::vector<std::int64_t>> contiguous_strides_of(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t step = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    if (__builtin_mul_overflow(step, shape[i], &step)) return {};
  }
  return strides;
}

}  // namespace pvlr::bindings
