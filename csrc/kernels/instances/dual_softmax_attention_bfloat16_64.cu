#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kBfloat16, 64>() {
  return make_launchers<__nv_bfloat16, 64>();
}

}  // namespace pvlr::device
