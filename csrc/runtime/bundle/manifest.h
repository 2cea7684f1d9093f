// The manifest (engine.json): what a plan is, and the results it must reproduce. The counterpart of
// pvlr_sdk/bundle/manifest.py, for the backends that this library runs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
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

// What a TensorRT plan was built with, which determines where it runs.
struct TensorRtSpec {
  std::string version;     // of TensorRT
  std::string capability;  // of the GPU
  std::string gpu;
  std::int32_t multiprocessors;  // of the GPU; 0: unknown
  std::string machine;           // the processor as in uname
  std::string hardware;          // "this", "capability" or "ampere+"
  bool version_compatible;
  std::array<std::int32_t, 3> batch;  // the smallest, the usual and the largest one
  std::string plugins;                // the version of the plugin library; empty: none is needed
  bool maps;                          // whether it has the output for attention maps
  std::int32_t dla;                   // the core of the deep learning accelerator; -1: none
};

// A label's map: the softmax over rows * columns tokens of alpha * similarity.
struct AttentionSpec {
  std::int32_t rows;
  std::int32_t columns;
  double alpha;

  std::size_t tokens() const { return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns); }
};

// An open plan, whose label bank is an input of the network.
struct OpenSpec {
  std::size_t max_labels;
  std::size_t width;          // of the embeddings
  std::string space;          // of the banks that it can use
  std::size_t feature_width;  // of the features that labels are taught on
  std::string features;
};

struct LabelSpec {
  std::string name;
  double threshold;
  double precise_threshold;  // the threshold in manifests of format 1
};

// Of a tile layout: the thresholds of the labels.
struct TileSpec {
  std::vector<double> f1;
  std::vector<double> precise;
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
  std::string fp32_until;                // the tensor up to which a bf16 engine computes in fp32; empty: none
  std::optional<TensorRtSpec> tensorrt;  // of the backend tensorrt only
  InputSpec input;
  AttentionSpec attention;
  std::vector<LabelSpec> labels;
  FileSpec plan;
  FileSpec label_bank;
  GoldenSpec golden;
  std::optional<OpenSpec> open;
  std::map<std::string, TileSpec> tiles;  // by columns x rows: "3x2"

  // The labels that the network computes, padding included.
  std::size_t room() const { return open ? open->max_labels : labels.size(); }
};

// Parses and validates a manifest; `source` names it in errors. Throws Error: PVLR_ERROR_UNSUPPORTED for what a later
// version or pvlr_sdk reads, else PVLR_ERROR_INVALID_BUNDLE.
Manifest parse_manifest(const std::string& text, const std::string& source);

}  // namespace pvlr::runtime
