// The CPU versions of the inline assembly in kernels/common/instructions.cuh, as exchanges between lanes.
#pragma once

#include <cstdint>

#include "simt.h"

namespace pvlr::device::ptx {

namespace emulated {

// Fragments as PTX lays them out; g = lane / 4, t = lane % 4. kHalves slices of 8 are multiplied: one for m16n8k8.
//   a[i]: row g + 8 * (i % 2), columns 2t, 2t + 1 of half i / 2
//   b[i]: rows 2t, 2t + 1 of half i, column g
//   d[i]: row g + 8 * (i / 2), column 2t + i % 2
template <typename T, int kHalves>
void mma(float (&d)[4], const std::uint32_t* a, const std::uint32_t* b) {
  struct Pairs {
    float values[6 * kHalves];  // two pairs of a and one of b per half
  };
  static_assert(sizeof(Pairs) <= simt::kSlot);
  Pairs own;
  for (int i = 0; i < 3 * kHalves; ++i) {
    T pair[2];
    std::memcpy(static_cast<void*>(pair), i < 2 * kHalves ? a + i : b + i - 2 * kHalves, sizeof pair);
    own.values[2 * i] = static_cast<float>(pair[0]);
    own.values[2 * i + 1] = static_cast<float>(pair[1]);
  }
  const unsigned char* all = simt::exchange({"mma", __FILE__, __LINE__}, 0xFFFFFFFFU, &own, sizeof own);
  const auto value = [all](int lane, int i) {
    float result;
    std::memcpy(&result, all + static_cast<std::size_t>(lane) * simt::kSlot + static_cast<std::size_t>(i) * 4, 4);
    return result;
  };
  const int g = simt::current->lane / 4;
  const int t = simt::current->lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + i % 2;
    for (int k = 0; k < 8 * kHalves; ++k) {
      const int lane = k % 8 / 2;
      const float left = value(g * 4 + lane, (k / 8 * 2 + i / 2) * 2 + k % 2);
      const float right = value(column * 4 + lane, 4 * kHalves + k / 8 * 2 + k % 2);
      d[i] += left * right;
    }
  }
}

// Lanes 8i..8i+7 pass the rows of matrix i: 8 rows of 8 two-byte values.
inline void ldmatrix(std::uint32_t (&r)[4], const void* row, bool transposed) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) simt::fail("ldmatrix: a row is not aligned to 16 bytes");
  const unsigned char* all = simt::exchange({"ldmatrix", __FILE__, __LINE__}, 0xFFFFFFFFU, &row, sizeof row);
  const int lane = simt::current->lane;
  for (int i = 0; i < 4; ++i) {
    std::uint16_t pair[2];
    for (int j = 0; j < 2; ++j) {
      const int y = transposed ? lane % 4 * 2 + j : lane / 4;
      const int x = transposed ? lane / 4 : lane % 4 * 2 + j;
      const std::uint16_t* values;
      std::memcpy(&values, all + static_cast<std::size_t>(8 * i + y) * simt::kSlot, sizeof values);
      pair[j] = values[x];
    }
    std::memcpy(&r[i], pair, sizeof pair);
  }
}

}  // namespace emulated

inline void mma_m16n8k8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b) {
  const std::uint32_t a[2] = {a0, a1};
  emulated::mma<__half, 1>(d, a, &b);
}
template <typename T>
void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  const std::uint32_t b[2] = {b0, b1};
  emulated::mma<T, 2>(d, a, b);
}

inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) { emulated::ldmatrix(r, row, false); }
inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) { emulated::ldmatrix(r, row, true); }

inline void copy_async_16(void* shared, const void* global, bool valid) {
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 ||
      (valid && reinterpret_cast<std::uintptr_t>(global) % 16 != 0)) {
    simt::fail("cp.async: an address is not aligned to 16 bytes");
  }
  simt::copy_async(shared, valid ? global : nullptr, 16);
}
inline void copy_async_commit() { simt::commit_async(); }
template <int kPending>
void copy_async_wait() {
  simt::wait_async(kPending);
}

inline float exp2_approx(float x) { return std::exp2(x); }

}  // namespace pvlr::device::ptx
