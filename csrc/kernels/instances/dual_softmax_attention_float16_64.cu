#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kFloat16, 64>() {
  return make_launchers<__half, 64>();
}

}  // namespace pvlr::device
