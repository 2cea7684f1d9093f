#include "kernels/tag_head_launch.cuh"

namespace pvlr::device {

template <>
TagHeadLaunchers tag_head_launchers<DataType::kBfloat16>() {
  return make_tag_head_launchers<__nv_bfloat16>();
}

}  // namespace pvlr::device
