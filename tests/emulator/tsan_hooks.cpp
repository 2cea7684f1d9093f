// The compiler calls these for every memory access of a source built with -fsanitize=thread. Linked without the
// sanitizer's library, they pass accesses to the shadow of shared memory. This file is built without that flag.
#include <cstddef>
#include <cstring>

#include "shadow.h"

using simt::shadow::read;
using simt::shadow::write;

#define SIMT_HOOKS(size)                                                     \
  void __tsan_read##size(void* address) { read(address, size); }             \
  void __tsan_write##size(void* address) { write(address, size); }           \
  void __tsan_unaligned_read##size(void* address) { read(address, size); }   \
  void __tsan_unaligned_write##size(void* address) { write(address, size); } \
  void __tsan_volatile_read##size(void* address) { read(address, size); }    \
  void __tsan_volatile_write##size(void* address) { write(address, size); }  \
  void __tsan_read_write##size(void* address) {                              \
    read(address, size);                                                     \
    write(address, size);                                                    \
  }

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

SIMT_HOOKS(1)
SIMT_HOOKS(2)
SIMT_HOOKS(4)
SIMT_HOOKS(8)
SIMT_HOOKS(16)

void __tsan_read_range(void* address, std::size_t size) { read(address, size); }
void __tsan_write_range(void* address, std::size_t size) { write(address, size); }

void* __tsan_memcpy(void* to, const void* from, std::size_t size) {
  read(from, size);
  write(to, size);
  return std::memcpy(to, from, size);
}
void* __tsan_memmove(void* to, const void* from, std::size_t size) {
  read(from, size);
  write(to, size);
  return std::memmove(to, from, size);
}
void* __tsan_memset(void* to, int value, std::size_t size) {
  write(to, size);
  return std::memset(to, value, size);
}

// Guards of function-local statics.
unsigned char __tsan_atomic8_load(const volatile unsigned char* address, int) {
  return __atomic_load_n(address, __ATOMIC_ACQUIRE);
}

}  // extern "C"
