// CUDA's built-ins for kernel sources that g++ or clang compiles for the CPU. The arithmetic of __half and
// __nv_bfloat16 comes from CUDA's headers.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "block.h"

#undef __global__
#undef __device__
#undef __host__
#undef __forceinline__
#undef __launch_bounds__
#undef __grid_constant__
#undef __shared__
#undef __restrict__
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict
#define __shared__ static_assert(false, "use PVLR_DYNAMIC_SHARED, which the emulator can watch");

#define threadIdx (simt::current->index)
#define blockIdx (simt::running.block)
#define blockDim (simt::running.block_size)
#define gridDim (simt::running.grid_size)

using std::max;
using std::min;

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

#define SIMT_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(SIMT_HERE) { simt::barrier({"__syncthreads", file, line}); }
inline int __syncthreads_or(int vote, SIMT_HERE) {
  return simt::barrier_or({"__syncthreads_or", file, line}, vote != 0) ? 1 : 0;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFU, SIMT_HERE) { simt::warp_barrier({"__syncwarp", file, line}, mask); }

namespace simt {

// The value of lane `source`, or the lane's own if `source` is outside its segment of `width` lanes.
template <typename T>
T shuffle(const Site& site, unsigned mask, T value, int source, int width) {
  static_assert(sizeof(T) <= kSlot);
  const int lane = current->lane;
  const int segment = lane & ~(width - 1);
  const bool inside = source >= segment && source < segment + width;
  const unsigned char* all = exchange(site, mask, &value, sizeof value);
  T result;
  std::memcpy(&result, all + static_cast<std::size_t>(inside ? source : lane) * kSlot, sizeof result);
  return result;
}

inline unsigned ballot(const Site& site, unsigned mask, int predicate) {
  const unsigned char* all = exchange(site, mask, &predicate, sizeof predicate);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    int vote;
    std::memcpy(&vote, all + lane * kSlot, sizeof vote);
    votes |= (vote != 0 ? 1U : 0U) << lane;
  }
  return votes;
}

}  // namespace simt

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_HERE) {
  const int segment = simt::current->lane & ~(width - 1);
  return simt::shuffle({"__shfl_sync", file, line}, mask, value, segment + (lane & (width - 1)), width);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, SIMT_HERE) {
  return simt::shuffle({"__shfl_xor_sync", file, line}, mask, value, simt::current->lane ^ bits, width);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_HERE) {
  return simt::ballot({"__ballot_sync", file, line}, mask, predicate);
}
inline int __any_sync(unsigned mask, int predicate, SIMT_HERE) {
  return simt::ballot({"__any_sync", file, line}, mask, predicate) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_HERE) {
  return simt::ballot({"__all_sync", file, line}, mask, predicate) == 0xFFFFFFFFU;
}
