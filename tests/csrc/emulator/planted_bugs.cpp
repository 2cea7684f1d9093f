// Kernels with one known mistake each; the argument chooses. The emulator must end the program with a message, and the
// kernel without a mistake must pass: test_emulator.py runs all of them.
#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels/common/instructions.cuh"
#include "kernels/common/platform.cuh"

namespace {

enum class Bug {
  kNone,
  kDivergentBarrier,
  kOtherBarrier,
  kDivergentShuffle,
  kEarlyExit,
  kSharedOutOfBounds,
  kGlobalOutOfBounds,
  kUninitialised,
  kMissingBarrier,
  kWriteAfterRead,
  kMissingSyncwarp,
  kMissingWait,
  kAsyncOverwrite,
};
constexpr const char* kNames[] = {
    "none",
    "divergent_barrier",
    "other_barrier",
    "divergent_shuffle",
    "early_exit",
    "shared_bounds",
    "global_bounds",
    "uninitialised",
    "missing_barrier",
    "write_after_read",
    "missing_syncwarp",
    "missing_wait",
    "async_overwrite",
};

// Sums each row of 64 values: two warps stage the row, reduce it by halves in shared memory and add the warp sums.
template <Bug kBug>
__global__ void row_sums(const float* values, float* sums) {
  PVLR_DYNAMIC_SHARED(memory);
  auto* stage = reinterpret_cast<float*>(memory);  // 64 values, then 2 sums
  const unsigned thread = threadIdx.x;
  const float* row = values + blockIdx.x * 64;

  if (kBug == Bug::kEarlyExit && thread == 63) return;
  if (thread < 16) {
    pvlr::device::copy_async_16(stage + 4 * thread, row + 4 * thread, true);
    pvlr::device::copy_async_commit();
    if (kBug == Bug::kAsyncOverwrite) stage[4 * thread] = 0.0F;
    if (kBug != Bug::kMissingWait) pvlr::device::copy_async_wait<0>();
  }
  if (kBug == Bug::kDivergentBarrier) {
    if (thread < 40) __syncthreads();
  } else if (kBug == Bug::kOtherBarrier) {
    if (thread < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  } else if (kBug != Bug::kMissingBarrier) {
    __syncthreads();
  }

  float sum = stage[thread];
  if (kBug == Bug::kGlobalOutOfBounds && blockIdx.x + 1 == gridDim.x) sum += row[thread + 1];
  if (kBug == Bug::kSharedOutOfBounds && thread == 63) sum += stage[thread + 3];
  if (kBug == Bug::kUninitialised) sum += stage[64 + thread / 32];
  if (kBug != Bug::kWriteAfterRead) __syncthreads();

  // A tree within the warp, through shared memory on purpose.
  const unsigned lane = thread % 32;
  stage[kBug == Bug::kWriteAfterRead ? 63 - thread : thread] = sum;
  __syncwarp();
  for (unsigned step = 16; step >= 4; step /= 2) {
    if (lane < step) stage[thread] += stage[thread + step];
    if (kBug != Bug::kMissingSyncwarp) __syncwarp();
  }
  float total = lane < 4 ? stage[thread] : 0.0F;
  for (int bits = 2; bits > 0; bits /= 2) {
    if (kBug == Bug::kDivergentShuffle && lane >= 16) continue;
    total += __shfl_xor_sync(0xFFFFFFFFU, total, bits);
  }
  if (lane == 0) stage[64 + thread / 32] = total;
  __syncthreads();
  if (thread == 0) sums[blockIdx.x] = stage[64] + stage[65];
}

template <Bug kBug>
int run() {
  constexpr unsigned kRows = 5;
  std::vector<float> values(kRows * 64);
  std::vector<float> expected(kRows);
  std::vector<float> sums(kRows);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 7 % 64);
    expected[i / 64] += values[i];
  }
  for (const bool reverse : {false, true}) {
    simt::device.reverse_warps = reverse;
    PVLR_LAUNCH(row_sums<kBug>, dim3(kRows), dim3(64), 66 * sizeof(float), nullptr, values.data(), sums.data());
    if (sums != expected) {
      std::printf("wrong sums\n");
      return 1;
    }
  }
  std::printf("ok\n");
  return 0;
}

template <int kFirst = 0>
int choose(const char* name) {
  if constexpr (kFirst < static_cast<int>(sizeof kNames / sizeof *kNames)) {
    return std::strcmp(name, kNames[kFirst]) == 0 ? run<static_cast<Bug>(kFirst)>() : choose<kFirst + 1>(name);
  }
  std::printf("no such bug: %s\n", name);
  return 2;
}

}  // namespace

int main(int count, char** arguments) { return choose(count > 1 ? arguments[1] : "none"); }
