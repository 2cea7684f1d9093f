#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kFloat32, 128>() {
  return make_launchers<float, 128>();
}

}  // namespace pvlr::device
