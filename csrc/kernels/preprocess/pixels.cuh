// Reads four adjacent pixels of a row of any format.
#pragma once

#include <cstdint>

#include "kernels/common/platform.cuh"
#include "pvlr/preprocess.h"
#include "pvlr/yuv.h"

namespace pvlr::device {

constexpr int kQuad = 4;

__device__ __forceinline__ bool multiple_of(unsigned size, const void* pointer, int pitch) {
  return (reinterpret_cast<std::uintptr_t>(pointer) | static_cast<unsigned>(pitch)) % size == 0;
}

__device__ __forceinline__ const std::uint8_t* row_of(const std::uint8_t* plane, int pitch, int y) {
  return plane + static_cast<std::int64_t>(y) * pitch;
}

// sizeof(Word) bytes. kWhole: in one aligned load; else byte by byte, zero at and after `available`.
template <bool kWhole, typename Word>
__device__ __forceinline__ std::uint32_t load_bytes(const std::uint8_t* from, int available) {
  if constexpr (kWhole) {
    return *reinterpret_cast<const Word*>(from);
  } else {
    std::uint32_t word = 0;
#pragma unroll 1
    for (int i = 0; i < static_cast<int>(sizeof(Word)); ++i) {
      if (i < available) word |= static_cast<std::uint32_t>(from[i]) << (8 * i);
    }
    return word;
  }
}

__device__ __forceinline__ int byte_of(std::uint32_t word, int i) { return static_cast<int>(word >> (8 * i) & 0xFFU); }

// kBytes per pixel, of which the first three (or the only one) are used.
template <int kBytes>
struct PackedPixels {
  static constexpr int kChannels = kBytes == 1 ? 1 : 3;

  const std::uint8_t* pixels;
  int pitch;
  int width;

  __device__ explicit PackedPixels(const BatchFrame& frame)
      : pixels(frame.planes[0]), pitch(static_cast<int>(frame.pitches[0])), width(frame.width) {}

  // Whether load<true> is valid where at least four pixels remain in the row.
  __device__ bool aligned() const { return multiple_of(4, pixels, pitch); }

  // Columns x..x+3 of row y, in the order of memory; x is a multiple of 4. Values outside the frame are undefined.
  template <bool kWhole>
  __device__ __forceinline__ void load(int x, int y, float (&values)[kChannels][kQuad]) const {
    const std::uint8_t* const from = row_of(pixels, pitch, y) + x * kBytes;
    std::uint32_t words[kBytes];
#pragma unroll
    for (int i = 0; i < kBytes; ++i) {
      words[i] = load_bytes<kWhole, std::uint32_t>(from + 4 * i, (width - x) * kBytes - 4 * i);
    }
#pragma unroll
    for (int j = 0; j < kQuad; ++j) {
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        const int byte = j * kBytes + c;
        values[c][j] = static_cast<float>(byte_of(words[byte / 4], byte % 4));
      }
    }
  }
};

// kInterleaved: NV12, else I420. Returns red, green and blue, rounded to integers as in a frame.
template <bool kInterleaved>
struct YuvPixels {
  static constexpr int kChannels = 3;

  const std::uint8_t* luma;
  const std::uint8_t* u;  // or pairs of U and V
  const std::uint8_t* v;
  int luma_pitch;
  int u_pitch;
  int v_pitch;
  int width;
  YuvCoefficients coefficients;

  __device__ explicit YuvPixels(const BatchFrame& frame)
      : luma(frame.planes[0]),
        u(frame.planes[1]),
        v(frame.planes[2]),
        luma_pitch(static_cast<int>(frame.pitches[0])),
        u_pitch(static_cast<int>(frame.pitches[1])),
        v_pitch(static_cast<int>(frame.pitches[2])),
        width(frame.width),
        coefficients(yuv_coefficients(frame.matrix, frame.range)) {}

  __device__ bool aligned() const {
    if (!multiple_of(4, luma, luma_pitch)) return false;
    return kInterleaved ? multiple_of(4, u, u_pitch) : multiple_of(2, u, u_pitch) && multiple_of(2, v, v_pitch);
  }

  template <bool kWhole>
  __device__ __forceinline__ void load(int x, int y, float (&values)[3][kQuad]) const {
    const std::uint32_t lumas = load_bytes<kWhole, std::uint32_t>(row_of(luma, luma_pitch, y) + x, width - x);
    const int columns = (width - x + 1) >> 1;  // of chroma, remaining
    int us[2];
    int vs[2];
    if constexpr (kInterleaved) {
      const std::uint32_t pairs = load_bytes<kWhole, std::uint32_t>(row_of(u, u_pitch, y >> 1) + x, 2 * columns);
      us[0] = byte_of(pairs, 0);
      vs[0] = byte_of(pairs, 1);
      us[1] = byte_of(pairs, 2);
      vs[1] = byte_of(pairs, 3);
    } else {
      const std::uint32_t both_u = load_bytes<kWhole, std::uint16_t>(row_of(u, u_pitch, y >> 1) + (x >> 1), columns);
      const std::uint32_t both_v = load_bytes<kWhole, std::uint16_t>(row_of(v, v_pitch, y >> 1) + (x >> 1), columns);
      us[0] = byte_of(both_u, 0);
      us[1] = byte_of(both_u, 1);
      vs[0] = byte_of(both_v, 0);
      vs[1] = byte_of(both_v, 1);
    }
    const YuvCoefficients& k = coefficients;
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const int du = us[pair] - 128;
      const int dv = vs[pair] - 128;
      const int half = 1 << (kYuvShift - 1);
      const int red = dv * k.red_v + half;
      const int green = du * k.green_u + dv * k.green_v + half;
      const int blue = du * k.blue_u + half;
#pragma unroll
      for (int j = 2 * pair; j < 2 * pair + 2; ++j) {
        const int light = max(byte_of(lumas, j) - k.black, 0) * k.luma;
        values[0][j] = clipped(light + red);
        values[1][j] = clipped(light + green);
        values[2][j] = clipped(light + blue);
      }
    }
  }

  __device__ static __forceinline__ float clipped(int fixed_point) {
    return static_cast<float>(min(max(fixed_point >> kYuvShift, 0), 255));
  }
};

}  // namespace pvlr::device
