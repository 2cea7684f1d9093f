// Runs the blocks of a launch one after another on the calling thread. Each thread of a block is a fiber that runs
// until it reaches a barrier or a warp-wide instruction. If the threads of a block or warp do not reach it together,
// the program ends with a message.
#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace simt {

struct Thread {
  uint3 index{};
  int warp = 0;
  int lane = 0;
  std::uint32_t syncwarps = 0;
  struct Impl;
  Impl* impl = nullptr;
};

struct Launch {
  uint3 block{};
  dim3 grid_size;
  dim3 block_size;
  unsigned char* shared = nullptr;
};

extern Thread* current;  // null outside a kernel
extern Launch running;

// Prints the message with the block and thread that caused it, and exits with status 70.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Where an instruction stands in the source.
struct Site {
  const char* name;
  const char* file;
  int line;
};

void barrier(const Site& site);
bool barrier_or(const Site& site, bool vote);  // whether any thread of the block votes for it

// One warp-wide instruction: each lane passes `size` bytes (at most 64) and receives the bytes of all 32 lanes, 64
// bytes apart, valid until its next warp-wide instruction. All lanes must take part.
const unsigned char* exchange(const Site& site, unsigned mask, const void* value, std::size_t size);
void warp_barrier(const Site& site, unsigned mask);
constexpr std::size_t kSlot = 64;

// cp.async: 16 bytes from `from`, or zeros if it is null, which arrive when the thread waits for their group.
void copy_async(void* to, const void* from, std::size_t size);
void commit_async();
void wait_async(int pending_groups);

// Runs function() in every thread of every block. Results must not depend on the order of warps, which can be reversed.
void launch(dim3 grid, dim3 block, std::size_t shared_bytes, void (*function)(void*), void* argument);

template <typename Function>
void launch(dim3 grid, dim3 block, std::size_t shared_bytes, Function&& function) {
  using Plain = std::remove_reference_t<Function>;
  launch(grid, block, shared_bytes, [](void* argument) { (*static_cast<Plain*>(argument))(); }, &function);
}

struct Device {
  std::size_t shared_bytes_per_block = 99 * 1024;
  int multiprocessors = 8;
  bool reverse_warps = false;
  bool refuses = false;  // launch_status reports every launch as failed
};
extern Device device;  // what the launchers query; tests may change it

}  // namespace simt
