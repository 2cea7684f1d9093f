// One warp computes 32 adjacent outputs of one row: it filters down the columns of the source, 128 at a time, then
// along the row. The eight warps of a block compute adjacent rows, whose windows overlap by half, so that device memory
// is read about once. No warp waits for another.
#pragma once

#include <cstdint>

#include "kernels/common/platform.cuh"
#include "launchers.h"
#include "pixels.cuh"
#include "pvlr/triangle_filter.h"

namespace pvlr::device {

constexpr int kChunk = 32 * kQuad;           // columns of the frame
constexpr int kLine = kChunk + kChunk / 32;  // floats that they take in shared memory
constexpr int kBatchWarpFloats = 3 * kLine;
constexpr int kBatchSharedBytes = kBatchRows * kBatchWarpFloats * 4;

// The index of a column in a line, with a gap after every 32, so that lanes whose windows are a power of two apart use
// different banks.
__device__ __forceinline__ int in_line(int column) { return column + (column >> 5); }

// The pixels begin..end-1 of an axis and their weights: reach - |distance|, where the distance grows by step. Whole
// numbers, exact in a float.
struct Window {
  int begin;
  int end;
  float distance;  // of the first
  float reach;
  float step;
};

__device__ __forceinline__ Window window_of(int inputs, int outputs, int i, int offset) {
  const TriangleFilter<int> filter{inputs, outputs};
  const int begin = filter.begin(i);
  return {offset + begin, offset + filter.end(i), static_cast<float>(filter.distance(i, begin)),
          static_cast<float>(filter.reach()), static_cast<float>(filter.step())};
}

// A warp's work on one frame.
struct WarpTask {
  Window down;    // of its row
  Window across;  // of this lane's output
  int begin;      // the columns of the frame that the warp's outputs need
  int end;
  int lane;
  float* line;  // in shared memory: kBatchWarpFloats
};

// Filters columns x..x+3 down to one row. kWhole: all four are inside the frame, and aligned.
template <bool kWhole, typename Pixels>
__device__ __forceinline__ void filter_down(const Pixels& pixels, const WarpTask& task, int x) {
  constexpr int kChannels = Pixels::kChannels;
  float distance = task.down.distance;
  float sums[kChannels][kQuad] = {};
  float total = 0.0F;
#pragma unroll 1
  for (int y = task.down.begin; y < task.down.end; ++y) {
    float values[kChannels][kQuad];
    pixels.template load<kWhole>(x, y, values);
    const float weight = task.down.reach - fabsf(distance);
    distance += task.down.step;
    total += weight;
#pragma unroll
    for (int c = 0; c < kChannels; ++c) {
#pragma unroll
      for (int j = 0; j < kQuad; ++j) sums[c][j] += weight * values[c][j];
    }
  }
  const float inverse = 1.0F / total;
  float* const line = task.line + in_line(kQuad * task.lane);
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
#pragma unroll
    for (int j = 0; j < kQuad; ++j) line[c * kLine + j] = sums[c][j] * inverse;
  }
}

// The lane's output in each channel, in the order of memory.
template <typename Pixels>
__device__ __forceinline__ void filter_row(const BatchFrame& frame, const WarpTask& task, float (&result)[3]) {
  constexpr int kChannels = Pixels::kChannels;
  const Pixels pixels(frame);
  const bool aligned = pixels.aligned();
  float distance = task.across.distance;
  float sums[kChannels] = {};
  float total = 0.0F;
  for (int chunk = task.begin / kQuad * kQuad; chunk < task.end; chunk += kChunk) {
    const int x = chunk + kQuad * task.lane;
    if (x < task.end) {
      if (aligned && x + kQuad <= frame.width) {
        filter_down<true>(pixels, task, x);
      } else {
        filter_down<false>(pixels, task, x);
      }
    }
    __syncwarp();
    const int end = min(task.across.end, chunk + kChunk) - chunk;
#pragma unroll 2
    for (int k = max(task.across.begin, chunk) - chunk; k < end; ++k) {
      const float weight = task.across.reach - fabsf(distance);
      distance += task.across.step;
      total += weight;
#pragma unroll
      for (int c = 0; c < kChannels; ++c) sums[c] += weight * task.line[c * kLine + in_line(k)];
    }
    __syncwarp();
  }
  const float inverse = 1.0F / total;
#pragma unroll
  for (int c = 0; c < 3; ++c) result[c] = sums[kChannels == 1 ? 0 : c] * inverse;
}

// result: red, green, blue in 0..255.
__device__ __forceinline__ void filter_frame(const BatchFrame& frame, const WarpTask& task, float (&result)[3]) {
  switch (frame.format) {
    case PixelFormat::kGray:
      return filter_row<PackedPixels<1>>(frame, task, result);
    case PixelFormat::kNv12:
      return filter_row<YuvPixels<true>>(frame, task, result);
    case PixelFormat::kI420:
      return filter_row<YuvPixels<false>>(frame, task, result);
    case PixelFormat::kRgb:
    case PixelFormat::kBgr:
      filter_row<PackedPixels<3>>(frame, task, result);
      break;
    default:
      filter_row<PackedPixels<4>>(frame, task, result);
  }
  if (frame.format == PixelFormat::kBgr || frame.format == PixelFormat::kBgra) {
    const float blue = result[0];
    result[0] = result[2];
    result[2] = blue;
  }
}

// Loops are not unrolled over rows, so that three blocks fit a multiprocessor: other warps hide the latency of loads.
template <typename T>
__global__ void __launch_bounds__(32 * kBatchRows, 3) preprocess_batch(const __grid_constant__ BatchArguments a) {
  PVLR_DYNAMIC_SHARED(shared);
  const int lane = static_cast<int>(threadIdx.x);
  const int warp = static_cast<int>(threadIdx.y);
  const int x = static_cast<int>(blockIdx.x) * 32 + lane;
  const int y = static_cast<int>(blockIdx.y) * kBatchRows + warp;
  if (y >= a.dst_height) return;

  const BatchFrame& frame = a.frames[blockIdx.z];
  const Rectangle crop = frame.crop;
  const Rectangle region = frame.region;
  const int row = y - region.top;
  const int column = x - region.left;
  const int first = max(column - lane, 0);  // of the warp's outputs inside the region
  const int last = min(column - lane + 31, region.width - 1);
  float values[3] = {a.normalisation.pad[0], a.normalisation.pad[1], a.normalisation.pad[2]};
  if (row >= 0 && row < region.height && first <= last) {
    const WarpTask task{window_of(crop.height, region.height, row, crop.top),
                        window_of(crop.width, region.width, min(max(column, first), last), crop.left),
                        window_of(crop.width, region.width, first, crop.left).begin,
                        window_of(crop.width, region.width, last, crop.left).end,
                        lane,
                        reinterpret_cast<float*>(shared) + warp * kBatchWarpFloats};
    float filtered[3];
    filter_frame(frame, task, filtered);
    if (column >= first && column <= last) {
#pragma unroll
      for (int c = 0; c < 3; ++c) values[c] = filtered[c] * a.normalisation.scale[c] + a.normalisation.bias[c];
    }
  }
  if (x >= a.dst_width) return;
  const std::int64_t plane = static_cast<std::int64_t>(a.dst_height) * a.dst_width;
  T* const to = static_cast<T*>(a.dst) + blockIdx.z * 3 * plane + static_cast<std::int64_t>(y) * a.dst_width + x;
#pragma unroll
  for (int c = 0; c < 3; ++c) to[c * plane] = static_cast<T>(values[c]);
}

template <typename T>
Status launch_preprocess(const BatchArguments& arguments, int count, void* stream_handle) {
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  const auto blocks = [](int size, int of_block) { return static_cast<unsigned>((size + of_block - 1) / of_block); };
  const dim3 grid(blocks(arguments.dst_width, 32), blocks(arguments.dst_height, kBatchRows),
                  static_cast<unsigned>(count));
  PVLR_LAUNCH(preprocess_batch<T>, grid, dim3(32, kBatchRows), kBatchSharedBytes, stream, arguments);
  return launch_status("stream: CUDA refused the launch of the preprocessing");
}

}  // namespace pvlr::device
