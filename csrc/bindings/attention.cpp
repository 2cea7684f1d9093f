// pvlr_sdk._core.dual_softmax_attention: fills the params struct from arrays and lets go of the GIL. The messages for
// users are pvlr_sdk.kernels'; the checks here only keep wrong arrays from being read out of bounds.
#include "attention.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <new>
#include <optional>
#include <string>

#include "pvlr/dual_softmax_attention.h"

namespace py = pybind11;

namespace pvlr {
namespace {

DataType parse_type(const std::string& name) {
  if (name == "float32") return DataType::kFloat32;
  if (name == "float16") return DataType::kFloat16;
  if (name == "bfloat16") return DataType::kBfloat16;
  throw py::value_error("type: must be float32, float16 or bfloat16");
}

// Strides in elements of an array (batch or 1, heads, rows, dim); one batch entry is shared by all.
AttentionStrides strides_of(const py::array& array, const DualSoftmaxAttentionParams& p, std::int64_t rows,
                            const char* name) {
  const std::int64_t size = p.type == DataType::kFloat32 ? 4 : 2;
  const bool fits = array.ndim() == 4 && array.itemsize() == size &&
                    (array.shape(0) == p.batch || array.shape(0) == 1) && array.shape(1) == p.heads &&
                    array.shape(2) == rows && array.shape(3) == p.dim;
  if (!fits) throw py::value_error(std::string(name) + ": shape or type does not fit");
  const bool regular = array.strides(3) == size && array.strides(0) % size == 0 && array.strides(1) % size == 0 &&
                       array.strides(2) % size == 0 && reinterpret_cast<std::uintptr_t>(array.data()) % size == 0;
  if (!regular) throw py::value_error(std::string(name) + ": the last axis must be contiguous and all rows aligned");
  const bool shared = array.shape(0) == 1;
  return {shared ? 0 : array.strides(0) / size, array.strides(1) / size, array.strides(2) / size};
}

void attend(const py::array& q_x, const py::array& k_t, const py::array& v_x, const py::array& v_t,
            const std::optional<py::array_t<std::uint8_t>>& mask, py::array& o_x, py::array& o_t,
            const std::string& type) {
  if (q_x.ndim() != 4 || k_t.ndim() != 4) throw py::value_error("q_x, k_t: must have 4 dimensions");
  DualSoftmaxAttentionParams p{};
  p.type = parse_type(type);
  p.batch = o_x.ndim() == 4 ? o_x.shape(0) : 0;
  p.heads = q_x.shape(1);
  p.tokens = q_x.shape(2);
  p.labels = k_t.shape(2);
  p.dim = q_x.shape(3);
  p.q_x_strides = strides_of(q_x, p, p.tokens, "q_x");
  p.k_t_strides = strides_of(k_t, p, p.labels, "k_t");
  p.v_x_strides = strides_of(v_x, p, p.tokens, "v_x");
  p.v_t_strides = strides_of(v_t, p, p.labels, "v_t");
  p.o_x_strides = strides_of(o_x, p, p.tokens, "o_x");
  p.o_t_strides = strides_of(o_t, p, p.labels, "o_t");
  if (o_t.shape(0) != p.batch) throw py::value_error("o_t: shape does not fit");
  p.q_x = q_x.data();
  p.k_t = k_t.data();
  p.v_x = v_x.data();
  p.v_t = v_t.data();
  p.o_x = o_x.mutable_data();
  p.o_t = o_t.mutable_data();
  if (mask) {
    const bool fits = mask->ndim() == 2 && (mask->shape(0) == p.batch || mask->shape(0) == 1) &&
                      mask->shape(1) == p.labels && mask->strides(1) == 1;
    if (!fits) throw py::value_error("mask: shape or layout does not fit");
    p.mask = mask->data();
    p.mask_batch_stride = mask->shape(0) == 1 ? 0 : mask->strides(0);
  }
  Status status;
  {
    const py::gil_scoped_release release;
    status = dual_softmax_attention_host(p);
  }
  if (status.code == StatusCode::kLaunchFailed) throw std::bad_alloc();
  if (!status.ok()) throw py::value_error(status.message);
}

}  // namespace

void bind_attention(py::module_& module) {
  module.def("dual_softmax_attention", &attend, py::arg("q_x").noconvert(), py::arg("k_t").noconvert(),
             py::arg("v_x").noconvert(), py::arg("v_t").noconvert(), py::arg("mask").noconvert(),
             py::arg("o_x").noconvert(), py::arg("o_t").noconvert(), py::arg("type"),
             "Compute both directions of dual-softmax attention on the CPU. Use pvlr_sdk.kernels.");
}

}  // namespace pvlr
