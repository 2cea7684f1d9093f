#include "prepared.h"

#include <pybind11/numpy.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

#include "bindings.h"

namespace py = pybind11;

namespace pvlr::bindings {
namespace {

// Whether sizes and strides in units of `unit` are the tensor's. A leading axis of one entry may be missing: a tensor
// that is shared by a batch has one more than its array.
template <typename Size>
bool same_layout(const Tensor& tensor, const Size* shape, const Size* strides, std::size_t dimensions, Size unit) {
  const std::size_t added = tensor.shape.size() - dimensions;
  if (added > 1 || (added == 1 && tensor.shape[0] != 1)) return false;
  for (std::size_t i = 0; i < dimensions; ++i) {
    if (shape[i] != tensor.shape[i + added]) return false;
    if (shape[i] > 1 && strides[i] != tensor.strides[i + added] * unit) return false;
  }
  return true;
}

// The address of a NumPy array like the prepared one; null for any other object. The type is compared by identity,
// which is quick and finds all types that NumPy has built in.
const void* address_of_numpy(const py::handle& object, const Tensor& like) {
  if (!py::isinstance<py::array>(object)) return nullptr;
  const auto array = py::reinterpret_borrow<py::array>(object);
  const bool same = array.dtype().ptr() == like.dtype &&
                    same_layout(like, array.shape(), array.strides(), static_cast<std::size_t>(array.ndim()),
                                static_cast<py::ssize_t>(like.item_bytes));
  const bool aligned =
      reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::uintptr_t>(like.item_bytes) == 0;
  return same && aligned ? array.data() : nullptr;
}

const Tensor* as_tensor(const py::handle& object, const Tensor& like) {
  if (!py::isinstance<Tensor>(object)) return nullptr;
  const auto* const tensor = object.cast<const Tensor*>();
  const bool same =
      tensor->type == like.type && tensor->on_cuda == like.on_cuda && tensor->device == like.device &&
      same_layout<std::int64_t>(like, tensor->shape.data(), tensor->strides.data(), tensor->shape.size(), 1);
  return same ? tensor : nullptr;
}

}  // namespace

Prepared::Prepared(const std::vector<const Tensor*>& inputs, const std::vector<const Tensor*>& outputs,
                   const std::vector<const Tensor*>& fixed, Run run)
    : count_(inputs.size()), run_(std::move(run)) {
  if (count_ > kMostInputs) throw std::length_error("too many inputs");
  const auto keep = [this](const std::vector<const Tensor*>& some) {
    for (const Tensor* const tensor : some) {
      if (tensor != nullptr) tensors_.push_back(std::make_shared<Tensor>(*tensor));
    }
  };
  keep(inputs);
  for (std::size_t i = 0; i < count_; ++i) addresses_[i] = tensors_[i]->data;
  keep(outputs);
  outputs_end_ = tensors_.size();
  keep(fixed);
  for (const auto& tensor : tensors_) given_.push_back(tensor.get());
}

bool Prepared::operator()(const py::args& arrays) const {
  if (arrays.empty()) {
    run_(addresses_, given_);
    return true;
  }
  if (arrays.size() != count_) return false;
  Inputs addresses{};
  std::vector<const Tensor*> tensors;
  for (std::size_t i = 0; i < count_; ++i) {
    const Tensor& like = *tensors_[i];
    const py::handle object = PyTuple_GET_ITEM(arrays.ptr(), static_cast<py::ssize_t>(i));
    addresses[i] = address_of_numpy(object, like);
    if (addresses[i] == nullptr) {
      const Tensor* const tensor = as_tensor(object, like);
      if (tensor == nullptr) return false;
      if (tensors.empty()) tensors = given_;
      tensors[i] = tensor;
      addresses[i] = tensor->data;
    }
    if (overlaps_output(addresses[i], like)) return false;
  }
  run_(addresses, tensors.empty() ? given_ : tensors);
  return true;
}

bool Prepared::overlaps_output(const void* data, const Tensor& like) const {
  const auto moved = reinterpret_cast<std::uintptr_t>(data) - reinterpret_cast<std::uintptr_t>(like.data);
  const auto [begin, end] = like.extent();
  for (std::size_t i = count_; i < outputs_end_; ++i) {
    const auto [first, last] = tensors_[i]->extent();
    if (begin + moved < last && first < end + moved) return true;
  }
  return false;
}

void bind_prepared(py::module_& module) {
  py::class_<Prepared>(module, "Prepared", "A kernel call whose arguments were checked once.")
      .def("__call__", &Prepared::operator());
}

}  // namespace pvlr::bindings
