// A fuzz target for label banks: any file is refused with an error that names it, or is a label bank. test_fuzz.py
// builds it with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
#include <cstdlib>
#include <cstring>

#include "json_mutator.h"
#include "runtime/bundle/label_bank.h"
#include "runtime/error.h"

// The document follows its length, 8 bytes; one in two mutations leaves a length that fits.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t capacity,
                                               unsigned seed) {
  constexpr std::size_t kPrefix = 8;
  const std::size_t mutated = fuzzing::mutate(data, size, capacity, seed, kPrefix);
  if (seed % 2 != 0 && mutated >= kPrefix) {
    for (std::size_t i = 0; i < kPrefix; ++i) data[i] = static_cast<std::uint8_t>((mutated - kPrefix) >> (8 * i));
  }
  return mutated;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto bank = pvlr::runtime::read_label_bank(std::string(data, data + size), "engine.labels.safetensors");
    std::size_t bytes = 0;
    for (const std::string& name : bank.names) bytes += name.size();
    if (bytes > size) std::abort();  // escapes of JSON are longer than what they stand for
  } catch (const pvlr::runtime::Error& error) {
    if (error.code() != PVLR_ERROR_INVALID_BUNDLE) std::abort();
    if (std::strncmp(error.what(), "engine.labels.safetensors", 25) != 0) std::abort();
  }
  return 0;
}
