#include "kernels/preprocess_batch_launch.cuh"

namespace pvlr::device {

template <>
Status launch_preprocess_batch<DataType::kFloat32>(const BatchArguments& arguments, int count, void* stream) {
  return launch_batch_of<float>(arguments, count, stream);
}

}  // namespace pvlr::device
