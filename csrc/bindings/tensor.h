// Another library's array, without a copy: its address, shape and type. The only place that reads NumPy arrays, DLPack
// capsules and __cuda_array_interface__.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pvlr/common.h"

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
  std::shared_ptr<void> owner;             // keeps the memory alive; released with the GIL held

  std::int64_t dimensions() const { return static_cast<std::int64_t>(shape.size()); }
  bool is_contiguous() const;  // C-contiguous
  // [begin, end) of the bytes that its elements span.
  std::pair<std::uintptr_t, std::uintptr_t> extent() const;
};

// The type of a kernel's tensors; throws for any other.
DataType data_type(const Tensor& tensor);

// The first stride of a tensor (batch, entry...), 0 if its one entry is for the whole batch; throws if the shape, the
// type or the layout of the last axis does not fit.
std::int64_t batch_stride(const Tensor& tensor, DataType type, std::int64_t batch,
                          const std::vector<std::int64_t>& entry, const char* name);

}  // namespace pvlr::bindings
