#include "shadow.h"

#include <cstdint>
#include <vector>

#include "block.h"

namespace simt::shadow {
namespace {

constexpr int kSeveralLanes = -1;

// The accesses of one warp since its last __syncwarp, by one lane or by several.
struct Access {
  std::uint64_t barrier = 0;  // number of barriers passed before it; 0: no access
  std::uint32_t syncwarp = 0;
  int warp = 0;
  int lane = 0;
};

enum class Content : std::uint8_t { kWritten, kInFlight };

struct Byte {
  Access write;
  Access reads[2];          // two warps suffice: a writer conflicts with at least one of them
  std::uint64_t block = 0;  // the block that wrote it
  Content content = Content::kWritten;
};

const unsigned char* first = nullptr;
std::size_t bytes = 0;
std::size_t guard_bytes = 0;
std::vector<Byte> state;
std::uint64_t barriers = 1;
std::uint64_t blocks = 0;

Access access_of(const Thread& thread) { return {barriers, thread.syncwarps, thread.warp, thread.lane}; }

// Whether nothing orders the earlier access before this one.
bool unordered(const Access& earlier, const Access& now) {
  if (earlier.barrier != now.barrier) return false;
  if (earlier.warp != now.warp) return true;
  return earlier.syncwarp == now.syncwarp && earlier.lane != now.lane;
}

void fail_race(std::size_t offset, const char* before, const Access& earlier, const char* after) {
  const int lane = earlier.lane == kSeveralLanes ? 0 : earlier.lane;
  fail("race: byte %zu of shared memory was %s by thread %d and is %s by this one without a barrier between", offset,
       before, earlier.warp * 32 + lane, after);
}

void remember_read(Byte& byte, const Access& now) {
  for (Access& read : byte.reads) {
    if (read.barrier != now.barrier) {
      read = now;
      return;
    }
    if (read.warp != now.warp) continue;
    if (read.syncwarp != now.syncwarp) {
      read = now;
    } else if (read.lane != now.lane) {
      read.lane = kSeveralLanes;
    }
    return;
  }
}

// The range's part of the shadow; null for other memory than shared.
Byte* find(const void* address, std::size_t size, const char* what) {
  if (current == nullptr || first == nullptr) return nullptr;
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  const auto base = reinterpret_cast<std::uintptr_t>(first);
  if (begin + size <= base - guard_bytes || begin >= base + bytes + guard_bytes) return nullptr;
  if (begin < base || begin + size > base + bytes) {
    fail("out of bounds: %zu bytes at offset %td of %zu bytes of shared memory are %s", size,
         static_cast<const unsigned char*>(address) - first, bytes, what);
  }
  return &state[begin - base];
}

std::size_t offset_of(const Byte& byte) { return static_cast<std::size_t>(&byte - state.data()); }

void check_write(Byte& byte, const Access& now) {
  if (unordered(byte.write, now)) fail_race(offset_of(byte), "written", byte.write, "written");
  for (const Access& read : byte.reads) {
    if (unordered(read, now)) fail_race(offset_of(byte), "read", read, "written");
  }
}

void set(Byte& byte, const Access& now, Content content) {
  byte.write = now;
  byte.block = blocks;
  byte.content = content;
}

bool in_flight(const Byte& byte) { return byte.block == blocks && byte.content == Content::kInFlight; }

}  // namespace

void watch(const unsigned char* shared, std::size_t size, std::size_t guard) {
  first = shared;
  bytes = size;
  guard_bytes = guard;
  if (state.size() < size) state.resize(size);
}

void new_block() {
  ++blocks;
  ++barriers;
}

void after_barrier() { ++barriers; }

void read(const void* address, std::size_t size) {
  Byte* byte = find(address, size, "read");
  if (byte == nullptr) return;
  const Access now = access_of(*current);
  for (Byte* end = byte + size; byte != end; ++byte) {
    if (byte->block != blocks)
      fail("uninitialised: byte %zu of shared memory is read, but nobody wrote it", offset_of(*byte));
    if (in_flight(*byte)) {
      fail("async: byte %zu of shared memory is read while a cp.async to it is under way", offset_of(*byte));
    }
    if (unordered(byte->write, now)) fail_race(offset_of(*byte), "written", byte->write, "read");
    remember_read(*byte, now);
  }
}

void write(const void* address, std::size_t size) {
  Byte* byte = find(address, size, "written");
  if (byte == nullptr) return;
  const Access now = access_of(*current);
  for (Byte* end = byte + size; byte != end; ++byte) {
    if (in_flight(*byte)) {
      fail("async: byte %zu of shared memory is written while a cp.async to it is under way", offset_of(*byte));
    }
    check_write(*byte, now);
    set(*byte, now, Content::kWritten);
  }
}

void start_async_write(const void* address, std::size_t size) {
  Byte* byte = find(address, size, "written");
  if (byte == nullptr) return;
  const Access now = access_of(*current);
  for (Byte* end = byte + size; byte != end; ++byte) {
    check_write(*byte, now);
    set(*byte, now, Content::kInFlight);
  }
}

void finish_async_write(const void* address, std::size_t size) {
  Byte* byte = find(address, size, "written");
  if (byte == nullptr) return;
  const Access now = access_of(*current);
  for (Byte* end = byte + size; byte != end; ++byte) set(*byte, now, Content::kWritten);
}

}  // namespace simt::shadow
