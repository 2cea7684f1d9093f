#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kFloat16, 128>() {
  return make_launchers<__half, 128>();
}

}  // namespace pvlr::device
