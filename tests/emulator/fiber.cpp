#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMT_ASAN 1
#endif
#endif
#ifdef SIMT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
static void __asan_unpoison_memory_region(const void*, std::size_t) {}
static void __sanitizer_start_switch_fiber(void**, const void*, std::size_t) {}
static void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*) {}
#endif

#ifdef __x86_64__
// Saves the callee-saved registers and the stack pointer in *save, and continues where the stack pointer `load` was
// saved.
extern "C" void simt_switch(void** save, void* load);
asm(R"(
.text
.globl simt_switch
.type simt_switch,@function
simt_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size simt_switch,.-simt_switch
)");
#endif

namespace simt {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;  // AddressSanitizer's frames are large
Fiber* entering = nullptr;

#ifndef __x86_64__
void switch_context(ucontext_t& save, ucontext_t& load) { swapcontext(&save, &load); }
#else
void switch_context(void*& save, void* load) { simt_switch(&save, load); }
#endif

}  // namespace

Fiber::Fiber(std::size_t stagger) : size_(kStackBytes), stagger_(stagger % 64 * 192) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, page + size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
    std::perror("simt: cannot allocate a stack");
    std::exit(1);
  }
  base_ = static_cast<char*>(memory);
  stack_ = base_ + page;
}

Fiber::~Fiber() { munmap(base_, static_cast<std::size_t>(stack_ - base_) + size_); }

void Fiber::start(void (*function)()) {
  function_ = function;
  started_ = false;
  __asan_unpoison_memory_region(stack_, size_);  // frames of the last call, which never returned
#ifndef __x86_64__
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_;
  inside_.uc_stack.ss_size = size_ - stagger_;
  inside_.uc_link = nullptr;
  makecontext(&inside_, &Fiber::entry, 0);
#else
  auto top = reinterpret_cast<std::uintptr_t>(stack_ + size_ - stagger_) & ~std::uintptr_t{15};
  auto function_address = reinterpret_cast<std::uintptr_t>(&Fiber::entry);
  top -= 64;  // six registers, the return address, and one word, as entry() expects the stack of a call
  std::memset(reinterpret_cast<void*>(top), 0, 64);
  std::memcpy(reinterpret_cast<void*>(top + 48), &function_address, sizeof function_address);
  inside_ = reinterpret_cast<void*>(top);
#endif
}

void Fiber::arrive() {
  __sanitizer_finish_switch_fiber(started_ ? inside_fake_stack_ : nullptr, &outside_stack_, &outside_size_);
  started_ = true;
}

void Fiber::entry() {
  Fiber* self = entering;
  self->arrive();
  self->function_();
  std::abort();  // the function must have left
}

void Fiber::enter() {
  entering = this;
  __sanitizer_start_switch_fiber(&outside_fake_stack_, stack_, size_);
  switch_context(outside_, inside_);
  __sanitizer_finish_switch_fiber(outside_fake_stack_, nullptr, nullptr);
}

void Fiber::leave() {
  __sanitizer_start_switch_fiber(&inside_fake_stack_, outside_stack_, outside_size_);
  switch_context(inside_, outside_);
  arrive();
}

}  // namespace simt
