// A core without CUDA: its launchers only say so. pvlr_sdk.kernels asks has_cuda first and says how to build one.
#include "device.h"
#include "pvlr/dual_softmax_attention.h"
#include "pvlr/preprocess_batch.h"
#include "pvlr/tag_head.h"

namespace pvlr {
namespace {

constexpr Status kMissing{StatusCode::kUnsupportedDevice, "device: this core was built without CUDA"};

}  // namespace

namespace bindings {

bool has_cuda() { return false; }
int device_of(const void*) { return 0; }
Status run_on_device(const Launch&) { return kMissing; }

}  // namespace bindings

Status dual_softmax_attention_cuda_workspace(const DualSoftmaxAttentionParams&, std::size_t*) { return kMissing; }
Status dual_softmax_attention_cuda(const DualSoftmaxAttentionParams&, void*) { return kMissing; }
Status tag_head_cuda_workspace(const TagHeadParams&, std::size_t*) { return kMissing; }
Status tag_head_cuda(const TagHeadParams&, void*) { return kMissing; }

Status preprocess_batch_cuda(const PreprocessBatchParams&, void*) { return kMissing; }

}  // namespace pvlr
