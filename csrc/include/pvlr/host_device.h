// Marks functions that both the CPU and the kernels call.
#pragma once

#if defined(__CUDACC__)
#define PVLR_HOST_DEVICE __host__ __device__
#else
#define PVLR_HOST_DEVICE
#endif
