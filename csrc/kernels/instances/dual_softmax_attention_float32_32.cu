#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kFloat32, 32>() {
  return make_launchers<float, 32>();
}

}  // namespace pvlr::device
