// The engine for plans of the backend openvino: a network compiled for one frame, which threads share.
#include "runtime/engine/runner.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "network.h"
#include "runtime/cores.h"
#include "runtime/error.h"
#include "runtime/preprocess.h"

namespace pvlr::runtime {
namespace {

// Calls a function of OpenVINO, whose errors become the library's.
template <typename Function>
auto inferring(const Function& function) {
  try {
    return function();
  } catch (const ov::Exception& error) {
    fail(PVLR_ERROR_RUNTIME, "inference", "a finished inference", reason(error));
  }
}

struct Projections final : LabelTensors {
  std::vector<ov::Tensor> tensors;
};

class OpenVinoRequest final : public Request {
 public:
  OpenVinoRequest(ov::InferRequest request, const InputSpec& spec)
      : spec_(spec),
        request_(std::move(request)),
        input_(request_.get_tensor(kImage).data<float>()),
        logits_(request_.get_tensor(kLogits).data<float>()),
        similarity_(request_.get_tensor(kSimilarity).data<float>()) {}

  void load(const InputFrame& frame) override { preprocess(spec_, frame, input_); }
  void use(const std::shared_ptr<const LabelTensors>& labels) override {
    if (labels == labels_) return;
    const std::vector<ov::Tensor>& tensors = static_cast<const Projections&>(*labels).tensors;
    inferring([&] {
      for (std::size_t i = 0; i < tensors.size(); ++i) request_.set_tensor(projection_name(i), tensors[i]);
    });
    labels_ = labels;
  }
  void start() override {
    inferring([this] { request_.start_async(); });
  }
  bool wait(std::chrono::milliseconds timeout) override {
    return inferring([=] { return timeout == kForever ? (request_.wait(), true) : request_.wait_for(timeout); });
  }
  const float* logits() const override { return logits_; }
  const float* similarity() const override { return similarity_; }

 private:
  const InputSpec& spec_;
  ov::InferRequest request_;
  std::shared_ptr<const LabelTensors> labels_;
  float* input_;
  const float* logits_;
  const float* similarity_;
};

class OpenVinoRunner final : public Runner {
 public:
  OpenVinoRunner(CompiledNetwork compiled, const InputSpec& spec, EngineInfo info)
      : compiled_(std::move(compiled)), spec_(spec), info_(std::move(info)) {
    info_.parallel = static_cast<std::int32_t>(compiled_.frames.get_property(ov::optimal_number_of_infer_requests));
  }

  const EngineInfo& info() const override { return info_; }
  std::unique_ptr<Request> create_request() override {
    return inferring(
        [this] { return std::make_unique<OpenVinoRequest>(compiled_.frames.create_infer_request(), spec_); });
  }
  std::shared_ptr<const LabelTensors> read_labels(const LabelInputs& inputs) override {
    return inferring([&] {
      ov::InferRequest request = compiled_.labels->create_infer_request();  // of its own: several threads may be here
      for (const auto& [name, values] : inputs) {
        std::copy(values.begin(), values.end(), request.get_tensor(name).data<float>());
      }
      request.infer();
      auto read = std::make_shared<Projections>();
      for (const auto& output : compiled_.labels->outputs()) {
        const ov::Tensor from = request.get_tensor(output);
        read->tensors.emplace_back(from.get_element_type(), from.get_shape());
        from.copy_to(read->tensors.back());
      }
      return read;
    });
  }

 private:
  CompiledNetwork compiled_;
  const InputSpec spec_;
  EngineInfo info_;
};

// The precision to run a plan in: one that its golden logits have a tolerance for, as its accuracy was checked. auto is
// bf16 if the CPU computes in that, else int8, else fp32.
std::string resolve_precision(std::string wanted, bool has_bf16, const Bundle& bundle) {
  const auto& runs = bundle.manifest.golden.tolerance;
  if (wanted.empty()) wanted = bundle.manifest.precision;
  if (wanted == "auto") return has_bf16 && runs.count("bf16") != 0 ? "bf16" : runs.count("int8") != 0 ? "int8" : "fp32";
  if (runs.count(wanted) == 0) {
    std::string expected = "auto";
    for (const auto& [name, tolerance] : runs) expected += " or " + name;
    fail(PVLR_ERROR_INVALID_ARGUMENT, "options.precision", expected, wanted);
  }
  if (wanted == "bf16" && !has_bf16) {
    fail(PVLR_ERROR_UNSUPPORTED, bundle.source, "a CPU that computes in bf16", "another");
  }
  return wanted;
}

}  // namespace

std::unique_ptr<Runner> load_openvino(const Bundle& bundle, const EngineOptions& options) {
  const Manifest& manifest = bundle.manifest;
  ov::Core& core = openvino_core();
  const bool has_bf16 = supports_bf16(core);
  EngineInfo info{};
  info.precision = resolve_precision(options.precision, has_bf16, bundle);
  info.threads = options.threads != 0 ? options.threads : available_cores();
  // A network that keeps its first layers in fp32 has its types in the graph; another follows the hint.
  const bool in_graph = info.precision == "bf16" && !manifest.fp32_until.empty();
  const bool hint_bf16 = !in_graph && (info.precision == "bf16" || (info.precision == "int8" && has_bf16));
  const auto mode = options.throughput ? ov::hint::PerformanceMode::THROUGHPUT : ov::hint::PerformanceMode::LATENCY;
  const ov::AnyMap engine_options{
      ov::hint::performance_mode(mode),
      ov::hint::inference_precision(hint_bf16 ? ov::element::bf16 : ov::element::f32),
      ov::inference_num_threads(info.threads),
      // Pinned threads of several processes share the first cores; a tagger with all cores has shorter slowest frames.
      ov::hint::enable_cpu_pinning(!options.throughput && info.threads >= available_cores()),
  };
  return std::make_unique<OpenVinoRunner>(
      compile_network(core, bundle, engine_options, in_graph, info.precision == "int8"), manifest.input, info);
}

}  // namespace pvlr::runtime
