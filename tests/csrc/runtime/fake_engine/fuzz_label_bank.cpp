// A fuzz target for label banks: any file is refused with an error that names it, or is a label bank, whose inputs of
// an open network have their shapes. test_fuzz.py builds it with libFuzzer, AddressSanitizer and
// UndefinedBehaviorSanitizer.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "json_mutator.h"
#include "runtime/bundle/open_labels.h"
#include "runtime/error.h"

// The document follows its length, 8 bytes, and the values follow it. Three in four mutations change the document and
// leave a length that fits.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t capacity,
                                               unsigned seed) {
  constexpr std::size_t kPrefix = 8;
  std::uint64_t length = 0;
  if (size >= kPrefix) std::memcpy(&length, data, kPrefix);
  if (seed % 4 == 0 || size < kPrefix || length > size - kPrefix) return LLVMFuzzerMutate(data, size, capacity);
  const std::string values(data + kPrefix + length, data + size);
  const std::size_t mutated = fuzzing::mutate(data, kPrefix + length, capacity - values.size(), seed / 4, kPrefix);
  std::copy(values.begin(), values.end(), data + mutated);
  length = mutated - kPrefix;
  if (mutated >= kPrefix) std::memcpy(data, &length, kPrefix);
  return mutated + values.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto bank = pvlr::runtime::read_label_bank(std::string(data, data + size), "engine.labels.safetensors");
    std::size_t bytes = 0;
    for (const std::string& name : bank.names) bytes += name.size();
    if (bytes > size) std::abort();  // escapes of JSON are longer than what they stand for
    for (std::size_t i = 0; i < bank.names.size(); ++i) {
      const float threshold = bank.thresholds.at(i);
      if (!(threshold > 0 && bank.precise_thresholds.at(i) >= threshold && bank.precise_thresholds[i] < 1))
        std::abort();
    }
    // An open plan that the bank fits, or misses by a label.
    const pvlr::runtime::OpenSpec spec{bank.names.size() + size % 3 - size % 2, bank.width(bank.embeddings), bank.space,
                                       bank.weights ? bank.width(*bank.weights) : 7, bank.features};
    const auto shapes = pvlr::runtime::label_shapes(spec);
    for (const auto& [name, values] : pvlr::runtime::label_inputs(bank, spec, "engine.labels.safetensors")) {
      std::size_t count = 1;
      for (const std::size_t side : shapes.at(name)) count *= side;
      if (values.size() != count) std::abort();
      for (const float value : values) {
        if (!(std::abs(value) <= 1000)) std::abort();
      }
    }
  } catch (const pvlr::runtime::Error& error) {
    if (error.code() != PVLR_ERROR_INVALID_BUNDLE) std::abort();
    if (std::strncmp(error.what(), "engine.labels.safetensors", 25) != 0) std::abort();
  }
  return 0;
}
