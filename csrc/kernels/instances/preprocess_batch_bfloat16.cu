#include "kernels/preprocess_batch_launch.cuh"

namespace pvlr::device {

template <>
Status launch_preprocess_batch<DataType::kBfloat16>(const BatchArguments& arguments, int count, void* stream) {
  return launch_batch_of<__nv_bfloat16>(arguments, count, stream);
}

}  // namespace pvlr::device
