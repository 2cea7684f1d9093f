// A fake libcuda.so.1 with what libpvlr takes from CUDA's driver.
#include "world.h"

extern "C" int cuCtxGetCurrent(void** context) { return *context = fake_current_context(), 0; }
extern "C" int cuCtxSetCurrent(void* context) { return fake_current_context() = context, 0; }
