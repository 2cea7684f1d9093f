// Cases of tensorrt_runner.cpp about optimisation profiles, devices and contexts.
#pragma once

#include <cuda_runtime_api.h>

#include "fake_tensorrt/world.h"
#include "gpu_checks.h"

// The plan has one for single frames and one for its largest batch.
inline void profiles() {
  for (const int used : {0, 1}) {
    const pvlr::Tagger tagger = open_plan(used == 0 ? PVLR_OPTIMIZE_LATENCY : PVLR_OPTIMIZE_THROUGHPUT);
    expect_equal(fake_world().profile, used, "the profile");
  }
}

// TensorRT may refuse the profile that another context uses.
inline void profile_of_its_own() {
  fake_world().profile_shared = false;
  const pvlr::Tagger tagger = open_plan();
  expect_equal(tagger.info().parallel, 1, "parallel with one context");
  check_in_flight(tagger, references(tagger, 5));
}

// The program's device stays as it is; the fake refuses launches on another one than 0.
inline void other_device() {
  cudaSetDevice(1);
  {
    const pvlr::Tagger tagger = open_plan();
    check_in_flight(tagger, references(tagger, 5));
  }
  int device = 0;
  cudaGetDevice(&device);
  expect_equal(device, 1, "the current device");
}

// Planes with pitches in host memory, and in the GPU's, which another stream writes after the submission.
inline void device_frames() {
  pvlr_options options = allowing();  // with tiles, at odd places, a host frame is cropped before it is copied
  options.tile_columns = 3;
  options.tile_rows = 2;
  const pvlr::Tagger tagger(plan, options);
  constexpr int kWidth = 37;
  constexpr int kHeight = 23;
  constexpr std::size_t kPitch = 64;
  constexpr std::size_t kBytes = kPitch * (kHeight + (kHeight + 1) / 2);
  void* host = nullptr;
  void* device = nullptr;
  cudaStream_t stream = nullptr;
  cudaHostAlloc(&host, kBytes, cudaHostAllocDefault);
  cudaMalloc(&device, kBytes);
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  auto* const bytes = static_cast<unsigned char*>(host);
  for (std::size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<unsigned char>(i % 251);
  for (const pvlr_format format : {PVLR_FORMAT_NV12, PVLR_FORMAT_GRAY}) {
    const auto planes = [=](void* begin) {
      auto frame = pvlr::make<pvlr_frame>();
      frame.format = format;
      frame.width = kWidth;
      frame.height = kHeight;
      frame.planes[0] = begin;
      frame.planes[1] = static_cast<unsigned char*>(begin) + kPitch * kHeight;
      frame.pitches[0] = frame.pitches[1] = kPitch;
      return frame;
    };
    const Scores expected = scores_of(tagger.submit(planes(host)));
    std::memset(device, 0, kBytes);
    pvlr_frame there = planes(device);
    there.memory = PVLR_MEMORY_CUDA;
    there.stream = stream;
    expect(scores_of(tagger.submit(there)) != expected, "scores of a black frame");
    cudaMemcpyAsync(device, host, kBytes, cudaMemcpyHostToDevice, stream);
    expect(scores_of(tagger.submit(there)) == expected, "scores of the frame");
    there.memory = 2;
    expect_error(PVLR_ERROR_INVALID_ARGUMENT, "frame.memory: expected a pvlr_memory", [&] { tagger.submit(there); });
  }
  cudaStreamDestroy(stream);
  cudaFree(device);
  cudaFreeHost(host);
}

// A plan that has no similarity.
inline void without_maps() {
  const pvlr::Tagger tagger = open_plan();
  const int before = fake_world().downloads;
  std::vector<float> map;
  pvlr::Job job = tagger.submit(frame(0));
  job.wait();
  expect_equal(fake_world().downloads - before, 1, "downloads");
  expect_error(PVLR_ERROR_UNSUPPORTED, "a plan with attention maps", [&] { job.map(0, &map); });
}
