// Bank conflicts of access patterns whose cost CUDA's documentation gives. Built with -fsanitize=thread.
#include <cstdio>

#include "emulator/banks.h"
#include "kernels/common/instructions.cuh"
#include "kernels/common/platform.cuh"

namespace {

constexpr int kFloats = 32 * 40;
int failures = 0;

enum class Pattern { kStride, kPairs, kVectors, kCopies, kMatrices };

// Each lane accesses the shared memory at `stride` times its lane.
template <Pattern kPattern>
__global__ void touch(int stride) {
  PVLR_DYNAMIC_SHARED(memory);
  auto* const floats = reinterpret_cast<float*>(memory);
  const int lane = static_cast<int>(threadIdx.x);
  if (kPattern == Pattern::kStride) floats[lane * stride] = 1.0F;
  if (kPattern == Pattern::kPairs) *reinterpret_cast<float2*>(floats + lane * stride) = float2{1.0F, 2.0F};
  if (kPattern == Pattern::kVectors)
    *reinterpret_cast<float4*>(floats + lane * stride) = float4{1.0F, 2.0F, 3.0F, 4.0F};
  if (kPattern == Pattern::kCopies) {
    pvlr::device::copy_async_16(floats + lane * stride, nullptr, false);
    pvlr::device::copy_async_commit();
    pvlr::device::copy_async_wait<0>();
  }
  if (kPattern == Pattern::kMatrices) {
    for (int i = 0; i < 4; ++i) floats[lane * stride + i] = 1.0F;
    __syncthreads();
    simt::banks::count = {};
    std::uint32_t r[4];
    pvlr::device::ldmatrix_x4(r, floats + lane * stride);
  }
}

template <Pattern kPattern>
void expect(int stride, unsigned phases, unsigned conflicts, const char* what) {
  simt::banks::count = {};
  PVLR_LAUNCH(touch<kPattern>, dim3(1), dim3(32), kFloats * sizeof(float), nullptr, stride);
  const auto got = simt::banks::count;
  if (got.phases == phases && got.conflicts == conflicts) return;
  ++failures;
  std::printf("FAILED: %s, stride %d: %llu phases, %llu conflicts\n", what, stride,
              static_cast<unsigned long long>(got.phases), static_cast<unsigned long long>(got.conflicts));
}

}  // namespace

int main() {
  simt::banks::counts = true;
  expect<Pattern::kStride>(1, 1, 0, "neighbours");
  expect<Pattern::kStride>(2, 1, 1, "every other float");
  expect<Pattern::kStride>(8, 1, 7, "every eighth float");
  expect<Pattern::kStride>(32, 1, 31, "a column of 32");
  expect<Pattern::kStride>(33, 1, 0, "a column of 33");
  expect<Pattern::kPairs>(2, 2, 0, "pairs");
  expect<Pattern::kPairs>(8, 2, 6, "pairs of every eighth float");
  expect<Pattern::kVectors>(4, 4, 0, "vectors");
  expect<Pattern::kVectors>(36, 4, 0, "rows of nine vectors");
  expect<Pattern::kVectors>(32, 4, 28, "rows of eight vectors");
  expect<Pattern::kCopies>(36, 4, 0, "copies to rows of nine vectors");
  expect<Pattern::kCopies>(32, 4, 28, "copies to rows of eight vectors");
  expect<Pattern::kMatrices>(36, 4, 0, "matrices with an odd stride");
  expect<Pattern::kMatrices>(32, 4, 28, "matrices with an even stride");
  if (failures == 0) std::printf("ok\n");
  return failures;
}
