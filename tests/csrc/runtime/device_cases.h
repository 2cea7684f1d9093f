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
