// A fuzz target for networks: any bytes are accepted, or refused with a short message. test_fuzz.py builds it with
// libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
#include <cstdlib>

#include "pvlr/network.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto refusal = pvlr::check_network({reinterpret_cast<const char*>(data), size});
  if (refusal && (refusal->expected.empty() || refusal->got.empty() || refusal->got.size() > 500)) std::abort();
  return 0;
}
