#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kBfloat16, 32>() {
  return make_launchers<__nv_bfloat16, 32>();
}

}  // namespace pvlr::device
