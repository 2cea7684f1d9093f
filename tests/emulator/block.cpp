#include "block.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <memory>
#include <new>
#include <vector>

#include "fiber.h"
#include "shadow.h"

namespace simt {

struct Copy {
  void* to;
  unsigned char value[16];
  std::size_t size;
};

enum class State { kReady, kAtWarp, kAtBarrier, kDone };

struct Thread::Impl {
  explicit Impl(std::size_t number) : fiber(number) {}
  Fiber fiber;
  State state = State::kReady;
  Site site{};
  unsigned exchanges = 0;
  unsigned votes = 0;  // number of barrier_or so far
  std::vector<Copy> open_group;
  std::deque<std::vector<Copy>> groups;
};

Thread* current = nullptr;
Launch running;
Device device;

namespace {

constexpr int kWarp = 32;
constexpr std::size_t kGuard = 4096;
constexpr int kFailed = 70;

struct Slots {
  alignas(16) unsigned char bytes[2][kWarp][kSlot];  // two, as a fast lane may be one exchange ahead of a slow one
};

std::vector<std::unique_ptr<Thread::Impl>> pool;  // stacks are kept between launches
std::vector<Thread> threads;
std::vector<Slots> slots;
bool votes[3];
void (*kernel)(void*) = nullptr;
void* kernel_argument = nullptr;

void stop(State state, const Site& site) {
  Thread* self = current;
  self->impl->state = state;
  self->impl->site = site;
  self->impl->fiber.leave();
}

void thread_body() {
  kernel(kernel_argument);
  if (!current->impl->groups.empty() || !current->impl->open_group.empty()) {
    fail("async: the thread ends without having waited for its cp.async copies");
  }
  stop(State::kDone, {"the end", "", 0});
}

bool same_place(const Site& a, const Site& b) {
  return a.line == b.line && std::strcmp(a.name, b.name) == 0 && std::strcmp(a.file, b.file) == 0;
}

[[noreturn]] void fail_divergent(const Thread& a, const Thread& b) {
  current = const_cast<Thread*>(&a);
  const Site& here = a.impl->site;
  const Site& there = b.impl->site;
  fail("divergence: this thread is at %s (%s:%d) and thread %d is at %s (%s:%d)", here.name, here.file, here.line,
       b.warp * kWarp + b.lane, there.name, there.file, there.line);
}

// Runs the warp's threads until all of them are at the block's barrier or at their end.
void run_warp(Thread* begin, Thread* end) {
  for (;;) {
    for (Thread* thread = begin; thread != end; ++thread) {
      if (thread->impl->state != State::kReady) continue;
      current = thread;
      thread->impl->fiber.enter();
    }
    current = nullptr;
    if (begin->impl->state == State::kReady) continue;
    for (Thread* thread = begin; thread != end; ++thread) {
      if (thread->impl->state != begin->impl->state || !same_place(thread->impl->site, begin->impl->site)) {
        fail_divergent(*begin, *thread);
      }
    }
    if (begin->impl->state != State::kAtWarp) return;
    for (Thread* thread = begin; thread != end; ++thread) thread->impl->state = State::kReady;
  }
}

void run_block() {
  const std::size_t warps = threads.size() / kWarp;
  for (Thread& thread : threads) {
    thread.syncwarps = 0;
    thread.impl->state = State::kReady;
    thread.impl->exchanges = 0;
    thread.impl->votes = 0;
    thread.impl->fiber.start(thread_body);
  }
  shadow::new_block();
  std::fill(std::begin(votes), std::end(votes), false);
  for (;;) {
    for (std::size_t i = 0; i < warps; ++i) {
      Thread* begin = threads.data() + (device.reverse_warps ? warps - 1 - i : i) * kWarp;
      run_warp(begin, begin + kWarp);
    }
    const Thread& leader = threads.front();
    for (const Thread& thread : threads) {
      if (!same_place(thread.impl->site, leader.impl->site)) fail_divergent(leader, thread);
    }
    if (leader.impl->state == State::kDone) return;
    for (Thread& thread : threads) thread.impl->state = State::kReady;
    shadow::after_barrier();
  }
}

}  // namespace

void fail(const char* format, ...) {
  std::fflush(stdout);
  std::fprintf(stderr, "simt: ");
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  if (current != nullptr) {
    const uint3 block = running.block;
    std::fprintf(stderr, " [block %u,%u,%u thread %d", block.x, block.y, block.z,
                 current->warp * kWarp + current->lane);
    const Site& last = current->impl->site;
    if (last.file != nullptr && last.line != 0)
      std::fprintf(stderr, ", last at %s %s:%d", last.name, last.file, last.line);
    std::fprintf(stderr, "]");
  }
  std::fprintf(stderr, "\n");
  std::_Exit(kFailed);
}

void barrier(const Site& site) { stop(State::kAtBarrier, site); }

bool barrier_or(const Site& site, bool vote) {
  const unsigned own = current->impl->votes++ % 3;
  votes[own] |= vote;
  votes[(own + 1) % 3] = false;  // of the last but one, which all threads have read
  stop(State::kAtBarrier, site);
  return votes[own];
}

const unsigned char* exchange(const Site& site, unsigned mask, const void* value, std::size_t size) {
  if (mask != 0xFFFFFFFFU) fail("%s: only the full mask is supported, not %08x", site.name, mask);
  Thread& self = *current;
  auto& slot = slots[static_cast<std::size_t>(self.warp)].bytes[self.impl->exchanges++ % 2];
  std::memcpy(slot[self.lane], value, size);
  stop(State::kAtWarp, site);
  return slot[0];
}

void warp_barrier(const Site& site, unsigned mask) {
  const char nothing = 0;
  exchange(site, mask, &nothing, 1);
  ++current->syncwarps;
}

void copy_async(void* to, const void* from, std::size_t size) {
  Copy copy{to, {}, size};
  if (from != nullptr) std::memcpy(copy.value, from, size);
  shadow::start_async_write(to, size);
  current->impl->open_group.push_back(copy);
}

void commit_async() {
  current->impl->groups.push_back(std::move(current->impl->open_group));
  current->impl->open_group.clear();
}

void wait_async(int pending_groups) {
  auto& groups = current->impl->groups;
  while (groups.size() > static_cast<std::size_t>(pending_groups)) {
    for (const Copy& copy : groups.front()) {
      shadow::finish_async_write(copy.to, copy.size);
      std::memcpy(copy.to, copy.value, copy.size);
    }
    groups.pop_front();
  }
}

void launch(dim3 grid, dim3 block, std::size_t shared_bytes, void (*function)(void*), void* argument) {
  const std::size_t count = std::size_t{block.x} * block.y * block.z;
  if (count == 0 || count > 1024 || count % kWarp != 0)
    fail("launch: %zu threads are not a valid number of whole warps", count);
  if (shared_bytes > device.shared_bytes_per_block)
    fail("launch: %zu bytes exceed the shared memory of a block", shared_bytes);
  while (pool.size() < count) pool.push_back(std::make_unique<Thread::Impl>(pool.size()));
  threads.assign(count, Thread{});
  slots.resize(count / kWarp);
  for (std::size_t i = 0; i < count; ++i) {
    Thread& thread = threads[i];
    const auto number = static_cast<unsigned>(i);
    thread.index = uint3{number % block.x, number / block.x % block.y, number / (block.x * block.y)};
    thread.warp = static_cast<int>(i / kWarp);
    thread.lane = static_cast<int>(i % kWarp);
    thread.impl = pool[i].get();
    thread.impl->site = {};
  }
  kernel = function;
  kernel_argument = argument;

  // The shadow watches a guard on each side, AddressSanitizer the one after it.
  const std::size_t total = kGuard + shared_bytes;
  auto* memory = static_cast<unsigned char*>(::operator new(total, std::align_val_t{1024}));
  running = {uint3{}, grid, block, memory + kGuard};
  shadow::watch(running.shared, shared_bytes, kGuard);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        running.block = uint3{x, y, z};
        std::memset(running.shared, 0xFF, shared_bytes);  // NaN in every floating-point format
        run_block();
      }
    }
  }
  shadow::watch(nullptr, 0, 0);
  ::operator delete(memory, std::align_val_t{1024});
}

}  // namespace simt
