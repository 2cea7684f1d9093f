// The manifest (engine.json): what a plan is, and the results it must reproduce. The counterpart of
// pvlr_sdk/bundle/manifest.py, for closed plans of the backends that this library runs.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pvlr::runtime {

constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{1} << 24;

// How a frame becomes the network's input. In units of 8-bit pixel values (0..255), in RGB order.
struct InputSpec {
  std::int32_t width;
  std::int32_t height;
  bool letterbox;  // else the frame is stretched
  std::array<double, 3> mean;
  std::array<double, 3> std;
  std::array<double, 3> pad;
};

// A label's map: the softmax over rows * columns tokens of alpha * similarity.
struct AttentionSpec {
  std::int32_t rows;
  std::int32_t columns;
  double alpha;

  std::size_t tokens() const { return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns); }
};

struct LabelSpec {
  std::string name;
  double threshold;
  double precise_threshold;  // the threshold in manifests of format 1
};

struct FileSpec {
  std::uint64_t bytes;
  std::string sha256;
};

// The golden image and its logits in fp32.
struct GoldenSpec {
  std::string frame_png;  // in base64
  std::vector<double> logits;
  std::map<std::string, double> tolerance;  // the largest difference of a logit, by precision
};

struct Manifest {
  std::string name;
  std::string backend;
  std::string precision;
  std::string fp32_until;  // the tensor up to which a bf16 engine computes in fp32; empty: none
  InputSpec input;
  AttentionSpec attention;
  std::vector<LabelSpec> labels;
  FileSpec plan;
  FileSpec label_bank;
  GoldenSpec golden;
};

// Parses and validates a manifest; `source` names it in errors. Throws Error: PVLR_ERROR_UNSUPPORTED for what a later
// version or pvlr_sdk reads, else PVLR_ERROR_INVALID_BUNDLE.
Manifest parse_manifest(const std::string& text, const std::string& source);

}  // namespace pvlr::runtime
