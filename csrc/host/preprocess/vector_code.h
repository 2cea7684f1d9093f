// For loops that are compiled for several instruction sets from one source: a body that is inlined into one function
// per set, of which the processor's best is chosen at run time. PVLR_NO_DISPATCH leaves the compiler's own target only.
#pragma once

#define PVLR_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__GNUC__) && !defined(PVLR_NO_DISPATCH)
#define PVLR_DISPATCH 1
#define PVLR_AVX2 __attribute__((target("avx2,fma")))
#define PVLR_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))

namespace pvlr {

inline bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
inline bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && has_avx2();
}

}  // namespace pvlr
#else
#define PVLR_DISPATCH 0
#endif
