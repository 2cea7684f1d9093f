// The preprocessing kernel on the fakes, whose device memory is host memory: the CPU's version, in the stream.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <new>

#include "pvlr/preprocess.h"

namespace pvlr {
namespace {

struct Work {
  PreprocessBatchParams params;
  BatchFrame frames[kFramesPerLaunch];
};

void CUDART_CB run(void* data) {
  auto* const work = static_cast<Work*>(data);
  work->params.frames = work->frames;
  if (!preprocess_batch_host(work->params).ok()) std::abort();
}

}  // namespace

Status preprocess_batch_cuda(const PreprocessBatchParams& params, void* stream) {
  const Status status = check_preprocess_batch(params);
  if (!status.ok()) return status;
  auto* const work = new (std::malloc(sizeof(Work))) Work{params, {}};  // never freed: graphs may keep it
  for (std::int64_t i = 0; i < params.count; ++i) {
    work->frames[i] = params.frames[i];
    cudaPointerAttributes found{};
    cudaPointerGetAttributes(&found, params.frames[i].planes[0]);
    if (found.type != cudaMemoryTypeDevice) return {StatusCode::kInvalidArgument, "planes: not in device memory"};
  }
  cudaLaunchHostFunc(static_cast<cudaStream_t>(stream), run, work);
  return {};
}

}  // namespace pvlr
