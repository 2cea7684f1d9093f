// A fuzz target for manifests: any text is refused with an error that names the file, or is what the header promises.
// test_fuzz.py builds it with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_set>

#include "json_mutator.h"
#include "runtime/bundle/files.h"
#include "runtime/bundle/manifest.h"
#include "runtime/error.h"

using pvlr::runtime::Error;
using pvlr::runtime::Manifest;

namespace {

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::abort();
}

bool is_triple(const std::array<double, 3>& values, double least, double most) {
  for (const double value : values) {
    if (!(value >= least && value <= most)) return false;
  }
  return true;
}

void check(const Manifest& manifest) {
  const auto is_side = [](std::int32_t side) { return side >= 1 && side <= 8192; };
  expect(is_side(manifest.input.width) && is_side(manifest.input.height), "the sides of the input");
  expect(is_side(manifest.attention.rows) && is_side(manifest.attention.columns), "the sides of a map");
  expect(is_triple(manifest.input.mean, -1000, 1000) && is_triple(manifest.input.pad, -1000, 1000), "mean or pad");
  expect(is_triple(manifest.input.std, 0.001, 100'000), "std");
  expect(!manifest.labels.empty() && manifest.golden.logits.size() == manifest.labels.size(), "the number of labels");
  std::unordered_set<std::string> names;
  for (const pvlr::runtime::LabelSpec& label : manifest.labels) {
    expect(!label.name.empty() && label.name.find('\0') == std::string::npos, "a name");
    expect(names.insert(label.name).second, "a name twice");
    expect(label.threshold > 0 && label.precise_threshold >= label.threshold && label.precise_threshold < 1,
           "a threshold");
  }
  expect(manifest.plan.bytes > 0 && manifest.plan.sha256.size() == 64, "the plan's file");
}

// Whether the function throws an Error of one of the two codes, which begins with the name of the file.
template <typename Function>
bool is_refused(const Function& function) {
  try {
    function();
    return false;
  } catch (const Error& error) {
    const bool known = error.code() == PVLR_ERROR_INVALID_BUNDLE || error.code() == PVLR_ERROR_UNSUPPORTED;
    expect(known && std::strncmp(error.what(), "engine.json", 11) == 0, error.what());
    return true;
  }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t capacity,
                                               unsigned seed) {
  return fuzzing::mutate(data, size, capacity, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Manifest manifest{};
  const std::string text(data, data + size);
  if (is_refused([&] { manifest = pvlr::runtime::parse_manifest(text, "engine.json"); })) return 0;
  check(manifest);
  pvlr::runtime::Image image{};
  if (is_refused([&] { image = pvlr::runtime::decode_png(manifest.golden.frame_png, "engine.json.golden.frame_png"); }))
    return 0;
  expect(image.width >= 1 && image.height >= 1, "a golden image without pixels");
  expect(image.pixels.size() == std::size_t{3} * static_cast<std::size_t>(image.width * image.height), "its pixels");
  return 0;
}
