#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kFloat32, 96>() {
  return make_launchers<float, 96>();
}

}  // namespace pvlr::device
