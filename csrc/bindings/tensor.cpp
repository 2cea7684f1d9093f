#include "tensor.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <tuple>
#include <type_traits>
#include <utility>

#include "bindings.h"
#include "device.h"
#include "dlpack.h"
#include "extent.h"

namespace py = pybind11;

namespace pvlr::bindings {
namespace {

std::shared_ptr<void> keep(py::object object) {
  return {new py::object(std::move(object)), [](void* kept) { delete static_cast<py::object*>(kept); }};
}

std::vector<std::int64_t> contiguous_strides(const std::vector<std::int64_t>& shape) {
  const auto strides = contiguous_strides_of(shape);
  if (!strides) throw py::value_error("its sizes are beyond the range of addresses");
  return *strides;
}

// Strides in bytes become strides in elements.
std::vector<std::int64_t> whole_elements(std::vector<std::int64_t> strides, std::int64_t item_bytes) {
  for (std::int64_t& stride : strides) {
    if (stride % item_bytes != 0) throw py::value_error("its strides are not whole elements");
    stride /= item_bytes;
  }
  return strides;
}

Tensor checked(Tensor tensor) {
  for (const std::int64_t size : tensor.shape) {
    if (size < 0) throw py::value_error("it has a negative size");
  }
  if (tensor.strides.size() != tensor.shape.size()) throw py::value_error("it has other than one stride a dimension");
  if (tensor.item_bytes > 0 &&
      reinterpret_cast<std::uintptr_t>(tensor.data) % static_cast<std::uintptr_t>(tensor.item_bytes) != 0) {
    throw py::value_error("its elements are not aligned");
  }
  if (!extent_of(reinterpret_cast<std::uintptr_t>(tensor.data), tensor.shape, tensor.strides, tensor.item_bytes)) {
    throw py::value_error("its strides are beyond the range of addresses");
  }
  return tensor;
}

std::string type_name(const dlpack::Type& type) {
  const std::string bits = std::to_string(type.bits);
  if (type.lanes == 1 && type.bits % 8 == 0 && type.bits > 0) {
    if (type.code == dlpack::kInt) return "int" + bits;
    if (type.code == dlpack::kUnsigned) return "uint" + bits;
    if (type.code == dlpack::kFloat) return "float" + bits;
    if (type.code == dlpack::kBfloat) return "bfloat" + bits;
    if (type.code == dlpack::kBool && type.bits == 8) return "bool";
  }
  throw py::value_error("its type is unknown here (DLPack code " + std::to_string(type.code) + ", " + bits + " bits, " +
                        std::to_string(type.lanes) + " lanes)");
}

// Byte order, kind and bytes, as "<f4".
std::pair<std::string, std::int64_t> parse_typestr(const std::string& text) {
  const auto refuse = [&text] { return py::value_error("its type is unknown here (typestr '" + text + "')"); };
  if (text.size() != 3 || text[2] < '1' || text[2] > '8') throw refuse();
  const std::int64_t bytes = text[2] - '0';
  if (text[0] != '<' && !(text[0] == '|' && bytes == 1)) throw refuse();
  const std::string bits = std::to_string(8 * bytes);
  if (text[1] == 'f') return {"float" + bits, bytes};
  if (text[1] == 'i') return {"int" + bits, bytes};
  if (text[1] == 'u') return {"uint" + bits, bytes};
  if (text[1] == 'b' && bytes == 1) return {"bool", bytes};
  if (text[1] == 'V' && bytes == 2) return {"bfloat16", bytes};  // as in PyTorch and ml_dtypes
  throw refuse();
}

template <typename Managed>
Tensor take(const py::capsule& capsule, const char* name, const char* used_name) {
  auto* const managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (managed == nullptr || PyCapsule_SetName(capsule.ptr(), used_name) != 0) throw py::error_already_set();
  // From here on it must be deleted, even if the checks below fail.
  Tensor result;
  result.owner = std::shared_ptr<void>(managed, [](void* owned) {
    auto* const own = static_cast<Managed*>(owned);
    if (own->deleter != nullptr) own->deleter(own);
  });
  result.writable = true;
  if constexpr (std::is_same_v<Managed, dlpack::ManagedVersioned>) {
    if (managed->major != Managed::kMajor) {
      throw py::value_error("it speaks DLPack " + std::to_string(managed->major) + ", not 1");
    }
    result.writable = (managed->flags & Managed::kReadOnly) == 0;
  }
  const dlpack::Tensor& from = managed->tensor;
  const std::int32_t place = from.device.type;
  result.on_cuda = place == dlpack::kCuda || place == dlpack::kCudaManaged;
  if (!result.on_cuda && place != dlpack::kCpu && place != dlpack::kCudaHost) {
    throw py::value_error("it lies on a device that is neither the CPU nor CUDA (DLPack type " + std::to_string(place) +
                          ")");
  }
  result.device = result.on_cuda ? from.device.id : 0;
  result.type = type_name(from.type);
  result.item_bytes = from.type.bits / 8;
  result.data = static_cast<char*>(from.data) + from.byte_offset;
  if (from.dimensions > 0) result.shape.assign(from.shape, from.shape + from.dimensions);
  if (from.strides != nullptr && from.dimensions > 0) {
    result.strides.assign(from.strides, from.strides + from.dimensions);
  } else {
    result.strides = contiguous_strides(result.shape);
  }
  return checked(std::move(result));
}

// NumPy takes microseconds to spell a name, which every frame would pay for its pixels and its network input.
std::string type_of(const py::dtype& dtype) {
  if (dtype.is(py::dtype::of<std::uint8_t>())) return "uint8";
  if (dtype.is(py::dtype::of<float>())) return "float32";
  return py::str(dtype.attr("name")).cast<std::string>();
}

Tensor tensor_from_numpy(const py::array& array) {
  Tensor result;
  result.type = type_of(array.dtype());
  if (!array.dtype().attr("isnative").cast<bool>()) throw py::value_error("its bytes are in the other order");
  result.item_bytes = array.itemsize();
  result.data = const_cast<void*>(array.data());
  result.shape.assign(array.shape(), array.shape() + array.ndim());
  result.strides = whole_elements({array.strides(), array.strides() + array.ndim()}, array.itemsize());
  result.writable = array.writeable();
  result.owner = keep(array);
  return checked(std::move(result));
}

// Consumes the capsule; its tensor is released with the last copy of the result.
Tensor tensor_from_dlpack(const py::capsule& capsule) {
  const char* const name = PyCapsule_GetName(capsule.ptr());
  const std::string given = name == nullptr ? "" : name;
  if (given == "dltensor") return take<dlpack::Managed>(capsule, "dltensor", "used_dltensor");
  if (given == "dltensor_versioned") {
    return take<dlpack::ManagedVersioned>(capsule, "dltensor_versioned", "used_dltensor_versioned");
  }
  throw py::value_error("its __dlpack__ gave a capsule named '" + given + "', which is no tensor or was taken already");
}

// `owner` is the object with the interface.
Tensor tensor_from_cuda_array_interface(const py::dict& interface, const py::object& owner) {
  const auto optional = [&interface](const char* key) -> py::object {
    return interface.contains(key) ? py::object(interface[key]) : py::none();
  };
  for (const char* const key : {"shape", "typestr", "data", "version"}) {
    if (!interface.contains(key)) throw py::value_error(std::string("its __cuda_array_interface__ has no ") + key);
  }
  Tensor result;
  try {
    if (interface["version"].cast<int>() < 1) throw py::value_error("its __cuda_array_interface__ is older than 1");
    std::tie(result.type, result.item_bytes) = parse_typestr(interface["typestr"].cast<std::string>());
    result.shape = interface["shape"].cast<std::vector<std::int64_t>>();
    const auto [address, read_only] = interface["data"].cast<std::pair<std::uintptr_t, bool>>();
    result.data = reinterpret_cast<void*>(address);
    result.writable = !read_only;
    const py::object strides = optional("strides");
    result.strides = strides.is_none() ? contiguous_strides(result.shape)
                                       : whole_elements(strides.cast<std::vector<std::int64_t>>(), result.item_bytes);
    const py::object stream = optional("stream");
    if (!stream.is_none()) {
      result.ready_on = stream.cast<std::uintptr_t>();
      if (*result.ready_on == 0)
        throw py::value_error("its stream is 0, which __cuda_array_interface__ does not allow");
    }
  } catch (const py::cast_error&) {
    throw py::value_error("its __cuda_array_interface__ has an entry of the wrong kind");
  }
  if (!optional("mask").is_none()) throw py::value_error("it is a masked array");
  result.on_cuda = true;
  result.device = device_of(result.data);
  result.owner = keep(owner);
  return checked(std::move(result));
}

Tensor with_batch(Tensor tensor) {
  tensor.shape.insert(tensor.shape.begin(), 1);
  tensor.strides.insert(tensor.strides.begin(), 0);
  return tensor;
}

}  // namespace

std::pair<std::uintptr_t, std::uintptr_t> Tensor::extent() const {
  // Checked when it was made.
  return extent_of(reinterpret_cast<std::uintptr_t>(data), shape, strides, item_bytes).value_or(Extent{0, 0});
}

bool Tensor::is_contiguous() const {
  const std::vector<std::int64_t> wanted = contiguous_strides(shape);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] > 1 && strides[i] != wanted[i]) return false;
  }
  return true;
}

DataType data_type(const Tensor& tensor) {
  if (tensor.type == "float32") return DataType::kFloat32;
  if (tensor.type == "float16") return DataType::kFloat16;
  if (tensor.type == "bfloat16") return DataType::kBfloat16;
  throw py::value_error("type: must be float32, float16 or bfloat16");
}

std::int64_t batch_stride(const Tensor& tensor, DataType type, std::int64_t batch,
                          const std::vector<std::int64_t>& entry, const char* name) {
  const bool fits = tensor.shape.size() == entry.size() + 1 && (tensor.shape[0] == batch || tensor.shape[0] == 1) &&
                    std::equal(entry.begin(), entry.end(), tensor.shape.begin() + 1);
  if (!fits || data_type(tensor) != type) throw py::value_error(std::string(name) + ": shape or type does not fit");
  if (tensor.strides.back() != 1) throw py::value_error(std::string(name) + ": the last axis must be contiguous");
  return tensor.shape[0] == 1 ? 0 : tensor.strides[0];
}

void bind_tensor(py::module_& module) {
  py::class_<Tensor>(module, "Tensor", "Another library's array: its address, shape and type.")
      .def_static("from_numpy", &tensor_from_numpy, py::arg("array").noconvert())
      .def_static("from_dlpack", &tensor_from_dlpack, py::arg("capsule"))
      .def_static("from_cuda_array_interface", &tensor_from_cuda_array_interface, py::arg("interface"),
                  py::arg("owner"))
      .def_property_readonly("is_contiguous", &Tensor::is_contiguous)
      .def("with_batch", &with_batch, "The same with a leading axis of one entry.")
      .def_property_readonly("shape", [](const Tensor& t) { return py::tuple(py::cast(t.shape)); })
      .def_property_readonly("strides", [](const Tensor& t) { return py::tuple(py::cast(t.strides)); })
      .def_property_readonly("pointer", [](const Tensor& t) { return reinterpret_cast<std::uintptr_t>(t.data); })
      .def_property_readonly("extent", &Tensor::extent)
      .def_property_readonly(
          "device", [](const Tensor& t) { return t.on_cuda ? "cuda:" + std::to_string(t.device) : std::string("cpu"); })
      .def_readonly("type", &Tensor::type)
      .def_readonly("item_bytes", &Tensor::item_bytes)
      .def_readonly("on_cuda", &Tensor::on_cuda)
      .def_readonly("writable", &Tensor::writable)
      .def_readonly("ready_on", &Tensor::ready_on);
  module.def("has_cuda", &has_cuda, "Whether this core was built with the CUDA kernels.");
}

}  // namespace pvlr::bindings
