#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kFloat32, 64>() {
  return make_launchers<float, 64>();
}

}  // namespace pvlr::device
