#include "kernels/dual_softmax_attention_launch.cuh"

namespace pvlr::device {

template <>
AttentionLaunchers attention_launchers<DataType::kFloat16, 32>() {
  return make_launchers<__half, 32>();
}

}  // namespace pvlr::device
