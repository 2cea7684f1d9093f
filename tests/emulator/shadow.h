// The state of each byte of shared memory: which threads wrote and read it since the last barrier, and whether it is
// initialised. A race, a read of uninitialised bytes, and an access out of bounds end the program.
#pragma once

#include <cstddef>

namespace simt::shadow {

// The block's shared memory and the guard bytes on both sides of it.
void watch(const unsigned char* shared, std::size_t size, std::size_t guard);
void new_block();      // all bytes are uninitialised again
void after_barrier();  // accesses before and after it are ordered

// The running thread's accesses. Addresses outside shared memory and its guards are ignored.
void read(const void* address, std::size_t size);
void write(const void* address, std::size_t size);

// cp.async: between its start and the wait for it, the bytes must not be accessed.
void start_async_write(const void* address, std::size_t size);
void finish_async_write(const void* address, std::size_t size);

}  // namespace simt::shadow
