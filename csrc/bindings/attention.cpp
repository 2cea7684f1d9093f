// pvlr_sdk._core.dual_softmax_attention: fills the params struct from tensors and releases the GIL. The messages for
// users are pvlr_sdk.kernels'; the checks here only keep wrong tensors from being read out of bounds.
#include <cstdint>

#include "bindings.h"
#include "launch.h"
#include "pvlr/dual_softmax_attention.h"
#include "tensor.h"

namespace py = pybind11;

namespace pvlr::bindings {
namespace {

// Strides of a tensor (batch or 1, heads, rows, dim); one batch entry is shared by all.
AttentionStrides strides_of(const Tensor& tensor, const DualSoftmaxAttentionParams& p, std::int64_t rows,
                            const char* name) {
  const std::int64_t batch = batch_stride(tensor, p.type, p.batch, {p.heads, rows, p.dim}, name);
  return {batch, tensor.strides[1], tensor.strides[2]};
}

void attend(const Tensor& q_x, const Tensor& k_t, const Tensor& v_x, const Tensor& v_t, const Tensor* mask,
            std::int64_t threads, const Tensor& o_x, const Tensor& o_t, std::uintptr_t stream) {
  if (q_x.dimensions() != 4 || k_t.dimensions() != 4) throw py::value_error("q_x, k_t: must have 4 dimensions");
  DualSoftmaxAttentionParams p{};
  p.type = data_type(q_x);
  p.batch = o_x.dimensions() == 4 ? o_x.shape[0] : 0;
  p.heads = q_x.shape[1];
  p.tokens = q_x.shape[2];
  p.labels = k_t.shape[2];
  p.dim = q_x.shape[3];
  p.threads = threads;
  p.q_x_strides = strides_of(q_x, p, p.tokens, "q_x");
  p.k_t_strides = strides_of(k_t, p, p.labels, "k_t");
  p.v_x_strides = strides_of(v_x, p, p.tokens, "v_x");
  p.v_t_strides = strides_of(v_t, p, p.labels, "v_t");
  p.o_x_strides = strides_of(o_x, p, p.tokens, "o_x");
  p.o_t_strides = strides_of(o_t, p, p.labels, "o_t");
  if (o_t.shape[0] != p.batch) throw py::value_error("o_t: shape does not fit");
  p.q_x = q_x.data;
  p.k_t = k_t.data;
  p.v_x = v_x.data;
  p.v_t = v_t.data;
  p.o_x = o_x.data;
  p.o_t = o_t.data;
  if (mask != nullptr) {
    const std::int64_t rank = mask->dimensions();
    const std::int64_t rows = rank == 2 ? mask->shape[0] : 1;
    const bool fits = (rank == 1 || rank == 2) && (rows == p.batch || rows == 1) && mask->item_bytes == 1 &&
                      mask->shape.back() == p.labels && (mask->strides.back() == 1 || p.labels == 1);
    if (!fits) throw py::value_error("mask: shape or layout does not fit");
    p.mask = static_cast<const std::uint8_t*>(mask->data);
    p.mask_batch_stride = rows == 1 ? 0 : mask->strides[0];
  }
  run({&q_x, &k_t, &v_x, &v_t, mask, &o_x, &o_t}, stream, p, dual_softmax_attention_host,
      PVLR_CUDA_LAUNCHER(dual_softmax_attention_cuda), PVLR_CUDA_LAUNCHER(dual_softmax_attention_cuda_workspace));
}

const Registered registered_attention([](py::module_& module) {
  module.def("dual_softmax_attention", &attend, py::arg("q_x"), py::arg("k_t"), py::arg("v_x"), py::arg("v_t"),
             py::arg("mask").none(true), py::arg("threads"), py::arg("o_x"), py::arg("o_t"), py::arg("stream"),
             "Compute both directions of dual-softmax attention. Use pvlr_sdk.kernels.");
});

}  // namespace
}  // namespace pvlr::bindings
