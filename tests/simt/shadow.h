// What is known about each byte of shared memory: who wrote and read it since the last barrier, and whether it holds
// anything. A race, a read of bytes that nobody wrote, and an access beside shared memory end the program.
#pragma once

#include <cstddef>

namespace simt::shadow {

// The block's shared memory and the guard bytes on both sides of it.
void watch(const unsigned char* shared, std::size_t size, std::size_t guard);
void new_block();      // all bytes are unwritten again
void after_barrier();  // accesses before and after it are ordered

// The running thread's accesses. Addresses outside shared memory and its guards are ignored.
void read(const void* address, std::size_t size);
void write(const void* address, std::size_t size);

// cp.async: from its start until the thread has waited for it the bytes may not be touched.
void start_async_write(const void* address, std::size_t size);
void finish_async_write(const void* address, std::size_t size);

}  // namespace simt::shadow
