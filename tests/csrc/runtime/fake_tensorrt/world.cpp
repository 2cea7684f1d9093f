#include "world.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

World& fake_world() {
  static World world;
  return world;
}

int& fake_depth() {
  thread_local int depth = 0;
  return depth;
}

void fake_fail(const char* what) {
  std::fprintf(stderr, "the fake GPU got %s\n", what);
  std::abort();
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = std::getenv("FAKE_NO_GPU") == nullptr ? 2 : 0;
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "Fake Orin");
  properties->major = 8;
  properties->minor = 7;
  properties->multiProcessorCount = 16;
  return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    default:
      return "another error";
  }
}
