// Somebody else's array: where it lies, its shape and type, without a copy. The one place that reads NumPy arrays,
// DLPack capsules and __cuda_array_interface__.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pvlr/dual_softmax_attention.h"

namespace pvlr::bindings {

struct Tensor {
  void* data = nullptr;
  std::string type;  // as NumPy names it
  std::int64_t item_bytes = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in elements
  bool on_cuda = false;
  int device = 0;  // of CUDA
  bool writable = false;
  std::optional<std::uintptr_t> ready_on;  // the stream that must reach this point before the data may be used
  std::shared_ptr<void> owner;             // keeps the memory; goes with the GIL held

  std::int64_t dimensions() const { return static_cast<std::int64_t>(shape.size()); }
  bool is_contiguous() const;  // in C's order
  // [begin, end) of the bytes that it may touch.
  std::pair<std::uintptr_t, std::uintptr_t> extent() const;
};

// The type of a kernel's tensors; throws if it is none.
DataType data_type(const Tensor& tensor);

}  // namespace pvlr::bindings
