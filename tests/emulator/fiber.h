// Fibers: stacks that one operating-system thread switches between. Each thread of an emulated block is one.
#pragma once

#include <cstddef>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace simt {

// Runs a function on a stack of its own, with a guard page below it. AddressSanitizer is notified of each switch.
class Fiber {
 public:
  explicit Fiber(std::size_t stagger);  // shifts the stack's top, so that the fibers don't share cache sets
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void start(void (*function)());  // prepares a call of `function`, which must end in leave(); drops the previous one
  void enter();                    // called outside: runs the fiber until it leaves
  void leave();                    // called inside: back to where enter() was called

 private:
  static void entry();
  void arrive();

  char* base_ = nullptr;   // of the guard page
  char* stack_ = nullptr;  // lowest usable byte
  std::size_t size_ = 0;
  std::size_t stagger_;
  void (*function_)() = nullptr;
  bool started_ = false;
  // AddressSanitizer's bookkeeping.
  void* outside_fake_stack_ = nullptr;
  void* inside_fake_stack_ = nullptr;
  const void* outside_stack_ = nullptr;
  std::size_t outside_size_ = 0;
#ifdef __x86_64__
  void* outside_ = nullptr;
  void* inside_ = nullptr;
#else
  ucontext_t outside_{};
  ucontext_t inside_{};
#endif
};

}  // namespace simt
