// The instructions that CUDA C++ has no function for. Inline assembly is in this file only, in namespace ptx, so that
// everything else also runs on the CPU under tests/emulator, which has its own namespace ptx.
#pragma once

#if defined(PVLR_SIMT)

#include "emulator/instructions.h"
#define PVLR_TURING (PVLR_SIMT < 80)

#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define PVLR_TURING 1
#else
#define PVLR_TURING 0
#endif

namespace pvlr::device::ptx {

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

#if PVLR_TURING
// a is 16x8 here, b 8x8.
__device__ __forceinline__ void mma_m16n8k8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a0), "r"(a1), "r"(b));
}
#else
template <typename T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                             std::uint32_t b1) {
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
#endif

__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace pvlr::device::ptx

#endif  // PVLR_SIMT

namespace pvlr::device {

// Loads four 8x8 matrices of two-byte values; lanes 8i..8i+7 give the addresses of matrix i's rows (16 bytes each).
using ptx::ldmatrix_x4;
using ptx::ldmatrix_x4_trans;

// 2^x with a relative error below 2^-22; denormal results become zero.
using ptx::exp2_approx;

#if PVLR_TURING
__device__ __forceinline__ void mma_m16n8k8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b,
                                            __half) {
  ptx::mma_m16n8k8(d, a0, a1, b);
}

// Turing's tensor cores do not support bfloat16: the same product by shuffles, correct and slow.
__device__ __forceinline__ void mma_m16n8k8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b,
                                            __nv_bfloat16) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto value = [](std::uint32_t pair, int k) {
    return __uint_as_float(k % 2 == 0 ? pair << 16 : pair & 0xFFFF0000U);
  };
#pragma unroll 2
  for (int k = 0; k < 8; ++k) {
    const float upper = value(__shfl_sync(0xFFFFFFFFU, a0, lane / 4 * 4 + k / 2), k);
    const float lower = value(__shfl_sync(0xFFFFFFFFU, a1, lane / 4 * 4 + k / 2), k);
    const float left = value(__shfl_sync(0xFFFFFFFFU, b, lane % 4 * 8 + k / 2), k);
    const float right = value(__shfl_sync(0xFFFFFFFFU, b, lane % 4 * 8 + 4 + k / 2), k);
    d[0] += upper * left;
    d[1] += upper * right;
    d[2] += lower * left;
    d[3] += lower * right;
  }
}
#endif

// d += a b for one 16x8 tile of a warp; a is 16x16, b 16x8, both of type T, in the fragments that PTX defines.
template <typename T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                             std::uint32_t b1) {
#if PVLR_TURING
  mma_m16n8k8(d, a[0], a[1], b0, T{});
  mma_m16n8k8(d, a[2], a[3], b1, T{});
#else
  ptx::mma_m16n8k16<T>(d, a, b0, b1);
#endif
}

// Copies 16 bytes to shared memory, or writes zeros if not valid; done after the wait for their group.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool valid) {
#if PVLR_TURING
  *static_cast<uint4*>(shared) = valid ? *static_cast<const uint4*>(global) : uint4{0, 0, 0, 0};
#else
  ptx::copy_async_16(shared, global, valid);
#endif
}
__device__ __forceinline__ void copy_async_commit() {
#if !PVLR_TURING
  ptx::copy_async_commit();
#endif
}
// Waits until at most kPending of this thread's groups are in flight.
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
#if !PVLR_TURING
  ptx::copy_async_wait<kPending>();
#endif
}

}  // namespace pvlr::device
