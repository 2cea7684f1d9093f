#include "network.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iterator>
#include <map>
#include <openvino/frontend/manager.hpp>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "pvlr/network.h"
#include "runtime/error.h"

namespace pvlr::runtime {
namespace {

// Of the constants, and of the tensors that are in use at the same time: 4 GB in float32.
constexpr std::int64_t kMaxElementsAlive = std::int64_t{1} << 30;

[[noreturn]] void reject(const Bundle& bundle, const std::string& expected, const std::string& got) {
  fail(PVLR_ERROR_INVALID_BUNDLE, bundle.source, expected, got);
}

std::string shown(const ov::PartialShape& shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

std::shared_ptr<ov::Model> read_network(const Bundle& bundle) {
  if (const auto refusal = check_network(bundle.plan)) reject(bundle, refusal->expected, refusal->got);
  try {
    // Core::read_model would try all of OpenVINO's formats.
    const auto reader = ov::frontend::FrontEndManager().load_by_framework("onnx");
    std::istringstream stream(bundle.plan);
    return reader->convert(reader->load(static_cast<std::istream*>(&stream)));
  } catch (const std::exception& error) {
    reject(bundle, "an ONNX network", reason(error));
  }
}

// Elements of a tensor; one more than the limit if there are or may be more.
std::int64_t count_elements(const ov::PartialShape& shape) {
  if (shape.rank().is_dynamic()) return kMaxNetworkElements + 1;
  std::uint64_t count = 1;
  for (const std::uint64_t side : shape.get_max_shape()) {
    if (side == 0) return 0;
    count = side > kMaxNetworkElements / count ? kMaxNetworkElements + 1 : count * side;
  }
  return static_cast<std::int64_t>(count);
}

// A few bytes can ask for any amount of memory, by broadcasting for example. OpenVINO knows all shapes here, and has
// allocated nothing.
void check_sizes(const ov::Model& model, const Bundle& bundle) {
  std::map<ov::Output<ov::Node>, std::pair<std::int64_t, std::size_t>> tensors;  // elements, readers to come
  std::int64_t alive = 0;
  for (const auto& node : model.get_ordered_ops()) {
    for (const ov::Output<ov::Node>& output : node->outputs()) {
      const std::int64_t count = count_elements(output.get_partial_shape());
      tensors[output] = {count, output.get_target_inputs().size()};
      alive += count;
      if (count <= kMaxNetworkElements && alive <= kMaxElementsAlive) continue;
      reject(bundle,
             "tensors of at most " + std::to_string(kMaxNetworkElements) + " elements, " +
                 std::to_string(kMaxElementsAlive) + " at the same time",
             std::string(node->get_type_name()) + " with an output of " + shown(output.get_partial_shape()));
    }
    for (const ov::Output<ov::Node>& source : node->input_values()) {
      auto& [count, readers] = tensors[source];
      if (--readers == 0) alive -= count;
    }
  }
}

void set_input_shapes(ov::Model& model, const Bundle& bundle) {
  const InputSpec& spec = bundle.manifest.input;
  const ov::PartialShape shape{1, 3, spec.height, spec.width};
  std::map<std::string, ov::PartialShape> shapes{{kImage, shape}};
  if (bundle.manifest.open) {
    for (const auto& [name, sides] : label_shapes(*bundle.manifest.open)) shapes.emplace(name, ov::Shape(sides));
  }
  bool named = model.inputs().size() == shapes.size();
  for (const auto& input : model.inputs()) {
    const auto& names = input.get_names();
    named &= std::any_of(names.begin(), names.end(), [&](const auto& name) { return shapes.count(name) != 0; });
    if (input.get_element_type() != ov::element::f32) reject(bundle, "a float32 input", "another type");
  }
  if (!named)
    reject(bundle, std::string("one input named ") + (shapes.size() > 1 ? "labels too" : kImage), "other inputs");
  try {
    model.reshape(shapes);
  } catch (const std::exception& error) {  // it computes what is constant
    reject(bundle, "an input of shape " + shown(shape), reason(error));
  }
  check_sizes(model, bundle);
}

void check_output(const ov::CompiledModel& compiled, const Bundle& bundle, const char* name, const ov::Shape& shape) {
  for (const auto& port : compiled.outputs()) {
    if (port.get_names().count(name) == 0) continue;
    if (port.get_element_type() == ov::element::f32 && port.get_partial_shape() == ov::PartialShape(shape)) return;
    reject(bundle, std::string(name) + " of shape " + shown(shape), shown(port.get_partial_shape()));
  }
  reject(bundle, std::string("an output named ") + name, "others");
}

}  // namespace

ov::Core& openvino_core() {
  // Never destroyed: on processors with AMX it gives the thread that creates it a stack for signals, and would free
  // that in another thread at the end of the process.
  static ov::Core* const core = new ov::Core;
  return *core;
}

bool supports_bf16(ov::Core& core) {
  const auto all = core.get_property("CPU", ov::device::capabilities);
  if (std::find(all.begin(), all.end(), ov::device::capability::BF16) == all.end()) return false;
  // OpenVINO states what the CPU has, also where this variable limits its kernels to older instructions.
  const char* const limit = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (limit == nullptr) return true;
  std::string isa = limit;
  std::transform(isa.begin(), isa.end(), isa.begin(), [](unsigned char c) { return std::toupper(c); });
  constexpr std::string_view kWithout[] = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"};
  return std::find(std::begin(kWithout), std::end(kWithout), isa) == std::end(kWithout);
}

CompiledNetwork compile_network(ov::Core& core, const Bundle& bundle, const ov::AnyMap& options, bool bf16,
                                bool quantized) {
  std::shared_ptr<ov::Model> model = read_network(bundle);
  if (!quantized) remove_ranges(*model);
  set_input_shapes(*model, bundle);
  const Manifest& manifest = bundle.manifest;
  CompiledNetwork compiled;
  try {
    fold_constants(model, quantized);
    SplitModel split{};
    if (manifest.open) {
      split = split_labels(*model);
      model = split.frames;
    }
    if (bf16 && !lower_to_bf16(*model, manifest.fp32_until)) {
      reject(bundle, "a tensor named " + manifest.fp32_until, "none");
    }
    compiled.frames = core.compile_model(with_packed_pixels(model), "CPU", options);
    if (split.labels != nullptr) {
      ov::AnyMap label_options = options;
      label_options[ov::hint::inference_precision.name()] = ov::element::f32;
      compiled.labels = core.compile_model(split.labels, "CPU", label_options);
    }
  } catch (const ov::Exception& error) {
    fail(PVLR_ERROR_RUNTIME, bundle.source, "a network that compiles", reason(error));
  }
  check_output(compiled.frames, bundle, kLogits, {1, manifest.room()});
  check_output(compiled.frames, bundle, kSimilarity, {1, manifest.attention.tokens(), manifest.room()});
  return compiled;
}

std::string reason(const std::exception& error) {
  std::istringstream lines(error.what());
  std::string last;
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  }
  const std::size_t begin = last.find_first_not_of(" \t");
  return begin == std::string::npos ? "an error without a message" : last.substr(begin);
}

}  // namespace pvlr::runtime
