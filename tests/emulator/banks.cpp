#include "banks.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "block.h"
#include "shadow.h"

namespace simt::banks {

Count count;
bool counts = false;

namespace {

constexpr std::size_t kLanes = 32;
constexpr std::uintptr_t kBankBytes = 4;
constexpr std::uintptr_t kBanks = 32;

struct Access {
  const void* where;
  const void* last;  // the instruction of the last scalar that joined it
  std::uintptr_t address;
  std::size_t size;
  bool write;
};

std::array<std::vector<Access>, kLanes> lanes;  // of the running warp, which runs alone
bool paused = false;

// One phase: addresses and their common size.
void add_phase(const std::vector<std::uintptr_t>& addresses, std::size_t size) {
  if (addresses.empty()) return;
  std::array<std::set<std::uintptr_t>, kBanks> words;
  for (const std::uintptr_t address : addresses) {
    for (std::uintptr_t word = address / kBankBytes; word * kBankBytes < address + size; ++word) {
      words[word % kBanks].insert(word);
    }
  }
  std::size_t most = 1;
  for (const auto& bank : words) most = std::max(most, bank.size());
  ++count.phases;
  count.conflicts += most - 1;
}

bool joins(const Access& before, const void* where, std::uintptr_t address, std::size_t size, bool write) {
  const std::size_t whole = before.size + size;
  const std::uintptr_t vector = whole <= 8 ? 8 : 16;
  return size == 4 && whole <= 16 && write == before.write && where != before.last &&
         address == before.address + before.size && before.address / vector == (address + size - 1) / vector &&
         before.address % vector == 0;
}

}  // namespace

void access(const void* where, const void* address, std::size_t size, bool write) {
  if (!counts || paused || !shadow::is_shared(address)) return;
  std::vector<Access>& own = lanes[static_cast<std::size_t>(current->lane)];
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  if (!own.empty() && joins(own.back(), where, begin, size, write)) {
    own.back().size += size;
    own.back().last = where;
  } else {
    own.push_back({where, where, begin, size, write});
  }
}

void end_of_segment() {
  if (!counts) return;
  std::map<std::pair<const void*, std::size_t>, std::array<const Access*, kLanes>> instructions;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    std::map<const void*, std::size_t> times;
    for (const Access& one : lanes[lane]) {
      const auto key = std::make_pair(one.where, times[one.where]++);
      instructions.try_emplace(key).first->second[lane] = &one;
    }
  }
  for (const auto& [key, accesses] : instructions) {
    std::size_t size = 0;
    for (const Access* const one : accesses) size = std::max(size, one == nullptr ? 0 : one->size);
    const std::size_t together = size <= 4 ? kLanes : size <= 8 ? kLanes / 2 : kLanes / 4;
    for (std::size_t first = 0; first < kLanes; first += together) {
      std::vector<std::uintptr_t> addresses;
      for (std::size_t lane = first; lane < first + together; ++lane) {
        if (accesses[lane] != nullptr) addresses.push_back(accesses[lane]->address);
      }
      add_phase(addresses, size);
    }
  }
  for (auto& lane : lanes) lane.clear();
}

Matrices::Matrices(const unsigned char* slots, std::size_t slot_bytes) {
  paused = true;
  if (!counts || current->lane != 0) return;
  for (std::size_t matrix = 0; matrix < 4; ++matrix) {
    std::vector<std::uintptr_t> rows(8);
    for (std::size_t row = 0; row < 8; ++row) {
      std::memcpy(&rows[row], slots + (8 * matrix + row) * slot_bytes, sizeof rows[row]);
    }
    add_phase(rows, 16);
  }
}

Matrices::~Matrices() { paused = false; }

}  // namespace simt::banks
