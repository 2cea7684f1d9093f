#include "kernels/tag_head_launch.cuh"

namespace pvlr::device {

template <>
TagHeadLaunchers tag_head_launchers<DataType::kFloat16>() {
  return make_tag_head_launchers<__half>();
}

}  // namespace pvlr::device
