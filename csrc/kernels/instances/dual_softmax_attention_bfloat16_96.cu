#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kBfloat16, 96>() {
  return make_launchers<__nv_bfloat16, 96>();
}

}  // namespace pvlr::device
