// pvlr_sdk._core.tag_head: fills the params struct from tensors and releases the GIL. The messages for users are
// pvlr_sdk.kernels'; the checks here only keep wrong tensors from being read out of bounds.
#include "pvlr/tag_head.h"

#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "launch.h"
#include "tensor.h"

namespace py = pybind11;

namespace pvlr::bindings {
namespace {

using Pair = std::pair<const Tensor*, const Tensor*>;

// A tensor (batch or 1, rows, width).
TagHeadStrides strides_of(const Tensor& tensor, const TagHeadParams& p, std::int64_t rows, const char* name) {
  return {batch_stride(tensor, p.type, p.batch, {rows, p.width}, name), tensor.strides[1]};
}

// The data of a contiguous tensor of that shape, or null for none.
template <typename T>
T* packed(const Tensor* tensor, const std::vector<std::int64_t>& shape, const char* name) {
  if (tensor == nullptr) return nullptr;
  if (tensor->shape != shape || tensor->item_bytes != sizeof(T) || !tensor->is_contiguous()) {
    throw py::value_error(std::string(name) + ": shape, type or layout does not fit");
  }
  return static_cast<T*>(tensor->data);
}

TagHeadNorm norm_of(const Pair& norm, std::int64_t width, const char* name) {
  return {packed<const float>(norm.first, {width}, name), packed<const float>(norm.second, {width}, name)};
}

void tag_head(const Tensor& x, const Tensor& t, const Pair& x_norm, const Pair& t_norm, const Tensor* bias,
              const Tensor* thresholds, const Tensor* chosen, float scale, float alpha, float epsilon,
              bool map_similarity, std::int64_t threads, const Tensor& logits, const Tensor* scores, const Tensor* tags,
              const Tensor* nonfinite, const Tensor* maps, std::uintptr_t stream) {
  if (x.dimensions() != 3 || t.dimensions() != 3) throw py::value_error("x, t: must have 3 dimensions");
  TagHeadParams p{};
  p.type = data_type(x);
  p.batch = x.shape[0];
  p.tokens = x.shape[1];
  p.labels = t.shape[1];
  p.width = x.shape[2];
  p.x = x.data;
  p.t = t.data;
  p.x_strides = strides_of(x, p, p.tokens, "x");
  p.t_strides = strides_of(t, p, p.labels, "t");
  p.x_norm = norm_of(x_norm, p.width, "x_norm");
  p.t_norm = norm_of(t_norm, p.width, "t_norm");
  p.bias = packed<const float>(bias, {p.labels}, "bias");
  p.thresholds = packed<const float>(thresholds, {p.labels}, "thresholds");
  p.scale = scale;
  p.alpha = alpha;
  p.epsilon = epsilon;
  p.threads = threads;
  p.logits = packed<float>(&logits, {p.batch, p.labels}, "logits");
  p.scores = packed<float>(scores, {p.batch, p.labels}, "scores");
  p.tags = packed<std::uint8_t>(tags, {p.batch, p.labels}, "tags");
  p.nonfinite = packed<std::uint8_t>(nonfinite, {p.batch, p.labels}, "nonfinite");
  if (maps != nullptr) {
    p.maps_count = maps->dimensions() == 3 ? maps->shape[1] : 0;
    if (maps->shape != std::vector<std::int64_t>{p.batch, p.maps_count, p.tokens} || maps->item_bytes != 4) {
      throw py::value_error("maps: shape or type does not fit");
    }
    p.maps = static_cast<float*>(maps->data);
    p.maps_batch_stride = maps->strides[0];
    p.maps_label_stride = maps->strides[1];
    p.maps_token_stride = maps->strides[2];
    p.maps_kind = map_similarity ? TagHeadMap::kSimilarity : TagHeadMap::kWeights;
    p.chosen = packed<const std::int32_t>(chosen, {p.maps_count}, "chosen");
  }
  run({&x, &t, x_norm.first, x_norm.second, t_norm.first, t_norm.second, bias, thresholds, chosen, &logits, scores,
       tags, nonfinite, maps},
      stream, p, tag_head_host, PVLR_CUDA_LAUNCHER(tag_head_cuda), PVLR_CUDA_LAUNCHER(tag_head_cuda_workspace));
}

const Registered registered_tag_head([](py::module_& module) {
  const auto optional = [](const char* name) { return py::arg(name).none(true); };
  module.def("tag_head", &tag_head, py::arg("x"), py::arg("t"), py::arg("x_norm"), py::arg("t_norm"), optional("bias"),
             optional("thresholds"), optional("chosen"), py::arg("scale"), py::arg("alpha"), py::arg("epsilon"),
             py::arg("map_similarity"), py::arg("threads"), py::arg("logits"), optional("scores"), optional("tags"),
             optional("nonfinite"), optional("maps"), py::arg("stream"),
             "Compute logits, scores, tags and attention maps. Use pvlr_sdk.kernels.");
});

}  // namespace
}  // namespace pvlr::bindings
