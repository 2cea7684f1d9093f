// What a kernel source includes first: CUDA, or the CPU emulator of tests/simt with -DPVLR_SIMT.
#pragma once

#if defined(PVLR_SIMT)

#include "simt.h"

#define PVLR_DYNAMIC_SHARED(name) unsigned char* const name = simt::running.shared
#define PVLR_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ((void)(stream), simt::launch(grid, block, shared_bytes, [&] { (kernel)(__VA_ARGS__); }))

#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define PVLR_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#define PVLR_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ((kernel) < < < grid, block, shared_bytes, stream >>> (__VA_ARGS__))

#endif
