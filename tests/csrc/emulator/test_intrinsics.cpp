// The emulator's shuffles, votes, matrix fragments and copies, compared with CUDA's specification.
#include <cmath>
#include <cstdio>
#include <vector>

#include "kernels/common/instructions.cuh"
#include "kernels/common/platform.cuh"

namespace {

constexpr unsigned kAll = 0xFFFFFFFFU;
int failures = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  ++failures;
  std::printf("FAILED: %s\n", what);
}

__global__ void shuffles(int* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int* own = out + threadIdx.x * 8;
  own[0] = __shfl_sync(kAll, lane, 35);  // lane 35 % 32
  own[1] = __shfl_sync(kAll, lane, 5, 8);
  own[2] = __shfl_xor_sync(kAll, lane, 12);
  own[3] = static_cast<int>(__ballot_sync(kAll, lane % 3 == 0));
  own[4] = __any_sync(kAll, lane == 31);
  own[5] = __any_sync(kAll, lane == 32);
  own[6] = __all_sync(kAll, lane < 32);
  own[7] = __all_sync(kAll, lane < 31);
}

// Each block votes twice in a row, and with a barrier in between: the last thread alone, then none, then all.
__global__ void votes(int* out) {
  int* own = out + threadIdx.x * 3;
  own[0] = __syncthreads_or(threadIdx.x == 63);
  own[1] = __syncthreads_or(0);
  __syncthreads();
  own[2] = __syncthreads_or(1);
}

void test_votes() {
  std::vector<int> out(64 * 3);
  PVLR_LAUNCH(votes, dim3(2), dim3(64), 0, nullptr, out.data());
  for (int i = 0; i < 64; ++i) {
    const int* own = &out[static_cast<std::size_t>(i) * 3];
    expect(own[0] == 1 && own[1] == 0 && own[2] == 1, "__syncthreads_or");
  }
}

void test_shuffles() {
  std::vector<int> out(64 * 8);
  PVLR_LAUNCH(shuffles, dim3(1), dim3(64), 0, nullptr, out.data());
  unsigned thirds = 0;
  for (unsigned lane = 0; lane < 32; lane += 3) thirds |= 1U << lane;
  for (int i = 0; i < 64; ++i) {
    const int lane = i % 32;
    const int* own = out.data() + i * 8;
    expect(own[0] == 3, "shfl takes the lane modulo the width");
    expect(own[1] == lane / 8 * 8 + 5, "shfl in segments");
    expect(own[2] == (lane ^ 12), "shfl_xor");
    expect(static_cast<unsigned>(own[3]) == thirds, "ballot");
    expect(own[4] == 1 && own[5] == 0, "any");
    expect(own[6] == 1 && own[7] == 0, "all");
  }
}

// One warp: d (16, 8) = a (16, 16) b, with b given as its transpose (8, 16) or as it is (16, 8).
template <typename T, bool kTransposed>
__global__ void multiply(const T* a, const T* b, float* d) {
  PVLR_DYNAMIC_SHARED(memory);
  auto* shared_a = reinterpret_cast<T*>(memory);
  auto* shared_b = shared_a + 256;
  const int lane = static_cast<int>(threadIdx.x);
  pvlr::device::copy_async_16(shared_a + 8 * lane, a + 8 * lane, true);
  pvlr::device::copy_async_commit();
  pvlr::device::copy_async_16(shared_b + 8 * lane, b + 8 * (lane % 16), lane < 16);  // the rest is zero
  pvlr::device::copy_async_commit();
  pvlr::device::copy_async_wait<1>();
  __syncthreads();
  std::uint32_t left[4];
  pvlr::device::ldmatrix_x4(left, shared_a + lane % 16 * 16 + lane / 16 * 8);
  pvlr::device::copy_async_wait<0>();
  __syncthreads();
  std::uint32_t right[4];
  if (kTransposed) {
    pvlr::device::ldmatrix_x4(right, shared_b + lane % 8 * 16 + lane / 8 * 8);
  } else {
    pvlr::device::ldmatrix_x4_trans(right, shared_b + lane * 8);
  }
  float sums[4] = {};
  pvlr::device::mma_m16n8k16<T>(sums, left, right[0], right[1]);
  for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

template <typename T, bool kTransposed>
void test_multiply(const char* what) {
  std::vector<T> a(256);
  std::vector<T> b(128);
  std::vector<float> d(128, NAN);
  for (std::size_t i = 0; i < 256; ++i) a[i] = static_cast<T>(static_cast<float>(i * 37 % 19) - 9.0F);
  for (std::size_t i = 0; i < 128; ++i) b[i] = static_cast<T>(static_cast<float>(i * 53 % 23) - 11.0F);
  PVLR_LAUNCH((multiply<T, kTransposed>), dim3(1), dim3(32), 1024, nullptr, a.data(), b.data(), d.data());
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      float sum = 0.0F;
      for (std::size_t k = 0; k < 16; ++k) {
        sum +=
            static_cast<float>(a[row * 16 + k]) * static_cast<float>(b[kTransposed ? column * 16 + k : k * 8 + column]);
      }
      expect(d[row * 8 + column] == sum, what);
    }
  }
}

}  // namespace

int main() {
  test_shuffles();
  test_votes();
  test_multiply<__half, true>("mma of half, b column by column");
  test_multiply<__half, false>("mma of half, b row by row");
  test_multiply<__nv_bfloat16, true>("mma of bfloat16");
  expect(pvlr::device::exp2_approx(-3.0F) == 0.125F, "exp2");
  if (failures == 0) std::printf("ok\n");
  return failures != 0;
}
