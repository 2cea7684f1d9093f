// Bank conflicts: the accesses of a warp's lanes to shared memory, put together as the device would issue them.
//
// Shared memory has 32 banks of 4 bytes. One instruction of a warp takes a cycle for each phase: all lanes for accesses
// of up to 4 bytes, 16 lanes for 8 and 8 lanes for 16 bytes, 8 rows for each matrix of ldmatrix. A phase takes one more
// cycle for every further word that it needs from the same bank: a conflict.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt::banks {

struct Count {
  std::uint64_t phases = 0;     // the cycles without conflicts
  std::uint64_t conflicts = 0;  // the cycles that conflicts add
};
extern Count count;  // of all launches
extern bool counts;  // off: nothing is recorded

// The running thread's access; `where` identifies the instruction. Addresses outside shared memory are ignored. The
// compiler for the CPU splits float2 and float4 into scalars: neighbours in one aligned vector count as one access.
void access(const void* where, const void* address, std::size_t size, bool write);

// All lanes of the running warp have stopped: the n-th accesses of each instruction belong together.
void end_of_segment();

// ldmatrix: the rows of four matrices, whose addresses are the first bytes of 32 slots. While it exists, accesses are
// not recorded.
class Matrices {
 public:
  Matrices(const unsigned char* slots, std::size_t slot_bytes);
  ~Matrices();
};

}  // namespace simt::banks
