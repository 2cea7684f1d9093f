#include "manifest.h"

#include <algorithm>
#include <regex>
#include <unordered_set>

#include "json_object.h"
#include "label_bank.h"
#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

constexpr std::int64_t kNewestFormat = 3;  // 2 added precise thresholds, 3 those of tiles
constexpr std::int64_t kMaxSide = 8192;
constexpr std::size_t kMaxLabels = 100'000;
constexpr std::int64_t kMaxBatch = 65536;
constexpr double kFp32Tolerance = 0.1;
constexpr double kLeastTolerance = 0.5;

std::array<double, 3> triple(JsonObject& object, const std::string& name, double least, double most) {
  const std::vector<double> values = object.numbers(name, 3, least, most);
  return {values[0], values[1], values[2]};
}

std::int32_t side(JsonObject& object, const std::string& name) {
  return static_cast<std::int32_t>(object.integer(name, 1, kMaxSide));
}

InputSpec parse_input(JsonObject object) {
  constexpr double kPixel = 1000;
  InputSpec input{};
  input.width = side(object, "width");
  input.height = side(object, "height");
  input.letterbox = object.has("resize") && object.choice("resize", {"stretch", "letterbox"}) == "letterbox";
  input.mean = triple(object, "mean", -kPixel, kPixel);
  input.std = triple(object, "std", 0.001, 100'000);
  input.pad = object.has("pad") ? triple(object, "pad", -kPixel, kPixel) : std::array<double, 3>{114, 114, 114};
  object.end();
  return input;
}

AttentionSpec parse_attention(JsonObject object) {
  AttentionSpec attention{side(object, "rows"), side(object, "columns"), object.number("alpha", -1e6, 1e6)};
  object.end();
  return attention;
}

double threshold(JsonObject& object, const std::string& name) {
  const double value = object.number(name, 0, 1);
  if (value == 0 || value == 1) object.fail(name, "between 0 and 1", value == 0 ? "0" : "1");
  return value;
}

// From format 2 on all labels have a precise threshold, in format 1 none has.
std::vector<LabelSpec> parse_labels(JsonObject& manifest, bool precise) {
  std::vector<JsonObject> objects = manifest.objects("labels");
  if (objects.empty() || objects.size() > kMaxLabels) {
    manifest.fail("labels", "1 to " + std::to_string(kMaxLabels) + " labels", std::to_string(objects.size()));
  }
  std::vector<LabelSpec> labels;
  std::unordered_set<std::string> names;
  for (JsonObject& object : objects) {
    LabelSpec label{object.text("name"), threshold(object, "threshold"), 0};
    if (!is_label(label.name)) object.fail("name", "at most 1000 characters", "more");
    label.precise_threshold = precise ? threshold(object, "precise_threshold") : label.threshold;
    if (label.precise_threshold < label.threshold) {
      object.fail("precise_threshold", "at least the threshold", "a lower one");
    }
    if (!precise && object.has("precise_threshold")) object.fail("precise_threshold", "none in format 1", "one");
    object.skip("precise_threshold");
    object.end();
    if (!names.insert(label.name).second) manifest.fail("labels", "distinct names", "'" + label.name + "' twice");
    labels.push_back(label);
  }
  return labels;
}

FileSpec parse_file(JsonObject object) {
  FileSpec file{static_cast<std::uint64_t>(object.integer("bytes", 1, std::int64_t{1} << 34)), object.digest("sha256")};
  object.end();
  return file;
}

// Beyond the limits of the tolerance, any network would pass.
GoldenSpec parse_golden(JsonObject object, std::size_t labels) {
  GoldenSpec golden{object.text("frame_png"), object.numbers("logits", labels, -1e6, 1e6), {}};
  const auto [low, high] = std::minmax_element(golden.logits.begin(), golden.logits.end());
  const double spread = *high - *low;
  JsonObject tolerance = object.object("tolerance");
  for (const char* const precision : {"fp32", "fp16", "bf16", "int8"}) {
    if (!tolerance.has(precision)) continue;
    const bool fp32 = precision == std::string("fp32");
    const double most = fp32 ? kFp32Tolerance : std::max(kLeastTolerance, spread);
    golden.tolerance[precision] = tolerance.number(precision, 0, most);
  }
  tolerance.end();
  object.end();
  return golden;
}

// 2 to `most_parts` numbers with dots between them.
std::string parse_version(JsonObject& object, const std::string& name, std::size_t most_parts) {
  constexpr std::size_t kMaxSize = 32;  // std::regex calls itself for each character
  std::string text = object.text(name);
  const std::regex form("[0-9]{1,6}(\\.[0-9]{1,6}){1," + std::to_string(most_parts - 1) + "}");
  if (text.size() <= kMaxSize && std::regex_match(text, form)) return text;
  const std::string count = most_parts > 2 ? "2 to " + std::to_string(most_parts) : "2";
  object.fail(name, count + " numbers with dots between them", text);
}

std::array<std::int32_t, 3> parse_batch(JsonObject& object) {
  const std::vector<std::int64_t> sizes = object.sizes("batch");
  const bool rising = sizes.size() == 3 && std::is_sorted(sizes.begin(), sizes.end());
  if (!rising || sizes[0] < 1 || sizes[2] > kMaxBatch) object.fail("batch", "3 rising numbers to 65536", "others");
  std::array<std::int32_t, 3> batch{};
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i] = static_cast<std::int32_t>(sizes[i]);
  return batch;
}

TensorRtSpec parse_tensorrt(JsonObject object) {
  const auto number = [&object](const std::string& name, std::int32_t least, std::int32_t otherwise) {
    object.skip(name);
    return object.has(name) ? static_cast<std::int32_t>(object.integer(name, least, INT32_MAX)) : otherwise;
  };
  TensorRtSpec spec{};
  spec.version = parse_version(object, "version", 4);
  spec.capability = parse_version(object, "capability", 2);
  spec.gpu = object.text("gpu");
  spec.multiprocessors = number("multiprocessors", 1, 0);
  spec.machine = object.text("machine");
  spec.hardware = object.has("hardware") ? object.choice("hardware", {"this", "capability", "ampere+"}) : "this";
  spec.version_compatible = object.has("version_compatible") && object.flag("version_compatible");
  spec.batch = object.has("batch") ? parse_batch(object) : std::array<std::int32_t, 3>{1, 1, 1};
  if (object.has("attention")) object.choice("attention", {"native", "fused"});
  if (object.has("plugins")) spec.plugins = object.text("plugins");
  object.skip("plugins");
  spec.maps = !object.has("maps") || object.flag("maps");
  spec.dla = number("dla", 0, -1);
  object.end();
  return spec;
}

// Refuses what is valid, but not for this version of the library.
std::int64_t check_supported(JsonObject& manifest, const std::string& source) {
  const std::int64_t format = manifest.has("format") ? manifest.integer("format", 1, INT32_MAX) : 1;
  if (format > kNewestFormat) {
    fail(PVLR_ERROR_UNSUPPORTED, source, "manifest format " + std::to_string(kNewestFormat) + " or older",
         "format " + std::to_string(format));
  }
  if (manifest.has("open") && manifest.has("tensorrt")) {
    fail(PVLR_ERROR_UNSUPPORTED, source, "a closed plan for TensorRT, as pvlr build --bank makes it", "an open one");
  }
  return format;
}

OpenSpec parse_open(JsonObject object) {
  constexpr std::ptrdiff_t kMaxName = 200;
  const auto size = [&object](const std::string& name, std::size_t most) {
    return static_cast<std::size_t>(object.integer(name, 1, static_cast<std::int64_t>(most)));
  };
  const auto name = [&object](const std::string& member) {
    std::string text = object.text(member);
    if (!is_label(text, kMaxName)) object.fail(member, "at most 200 characters", "more");
    return text;
  };
  OpenSpec spec{size("max_labels", kMaxLabels), size("width", kMaxSide), name("space"), size("feature_width", kMaxSide),
                name("features")};
  object.end();
  return spec;
}

std::map<std::string, TileSpec> parse_tiles(JsonObject object, std::size_t labels) {
  constexpr int kMost = 99;  // columns, or rows
  std::map<std::string, TileSpec> tiles;
  for (int i = 0; i < kMost * kMost; ++i) {
    const std::string name = std::to_string(1 + i % kMost) + "x" + std::to_string(1 + i / kMost);
    if (!object.has(name)) continue;
    JsonObject points = object.object(name);
    const auto thresholds = [&](const std::string& point) {
      std::vector<double> values = points.numbers(point, labels, 0, 1);
      if (std::count(values.begin(), values.end(), 0) + std::count(values.begin(), values.end(), 1) == 0) return values;
      points.fail(point, "thresholds between 0 and 1", "0 or 1");
    };
    tiles[name] = {thresholds("f1"), thresholds("precise")};
    points.end();
  }
  object.end();
  if (tiles.empty()) object.fail("tiles", "a layout in format 3", "none");
  return tiles;
}

}  // namespace

Manifest parse_manifest(const std::string& text, const std::string& source) {
  const Json json = parse_json(text, source);
  JsonObject object(json, source);
  object.skip("checksum");  // of the manifest itself, in those that 0.2.0 wrote
  const std::int64_t format = check_supported(object, source);
  Manifest manifest{};
  manifest.name = object.text("name");
  manifest.backend = object.choice("backend", {"openvino", "tensorrt"});
  const bool tensorrt = manifest.backend == "tensorrt";
  if (tensorrt) manifest.tensorrt = parse_tensorrt(object.object("tensorrt"));
  if (!tensorrt && object.has("tensorrt")) object.fail("tensorrt", "none for the backend openvino", "one");
  object.skip("tensorrt");
  std::vector<std::string> precisions = {"auto", "fp32", "bf16", "int8"};
  if (tensorrt) precisions.emplace_back("fp16");
  manifest.precision = object.has("precision") ? object.choice("precision", precisions) : "auto";
  if (object.has("fp32_until")) manifest.fp32_until = object.text("fp32_until");
  object.skip("fp32_until");
  manifest.input = parse_input(object.object("input"));
  manifest.attention = parse_attention(object.object("attention"));
  manifest.labels = parse_labels(object, format > 1);
  JsonObject files = object.object("files");
  manifest.plan = parse_file(files.object("plan"));
  manifest.label_bank = parse_file(files.object("labels"));
  files.end();
  manifest.golden = parse_golden(object.object("golden"), manifest.labels.size());
  if (object.has("open")) {
    manifest.open = parse_open(object.object("open"));
    if (manifest.labels.size() > manifest.open->max_labels) object.fail("open", "at most max_labels labels", "more");
  }
  object.skip("open");
  if (format > 2) manifest.tiles = parse_tiles(object.object("tiles"), manifest.labels.size());
  for (const char* const name : {"built", "measured"}) object.skip(name);  // for people
  object.end();
  return manifest;
}

}  // namespace pvlr::runtime
