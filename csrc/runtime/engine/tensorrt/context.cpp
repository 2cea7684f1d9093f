#include "context.h"

#include <chrono>

#include "log.h"
#include "runtime/error.h"
#include "runtime/preprocess.h"

namespace pvlr::runtime::tensorrt {
namespace {

constexpr std::size_t kFloat = sizeof(float);

std::size_t times(std::int32_t count, std::size_t size) { return static_cast<std::size_t>(count) * size; }

}  // namespace

Outputs::Outputs(const Shapes& shapes, std::int32_t batch)
    : logits(cuda::allocate_host<float>(times(batch, shapes.logits_size()))),
      similarity(cuda::allocate_host<float>(times(batch, shapes.similarity_size()))) {}

ExecutionContext::ExecutionContext(const Engine& engine, const Shapes& shapes, const InputSpec& spec,
                                   std::int32_t batch)
    : engine_(engine),
      shapes_(shapes),
      preprocessing_(preprocessing(spec)),
      context_(engine.create_context()),
      stream_(cuda::create_stream()),
      end_(cuda::create_event()),
      image_(cuda::allocate_device<float>(times(batch, shapes.image_size()))),
      logits_(cuda::allocate_device<float>(times(batch, shapes.logits_size()))),
      similarity_(cuda::allocate_device<float>(times(batch, shapes.similarity_size()))) {
  preprocessing_.dst = image_.get();
  bind(batch);
  enqueue();  // the first run initialises TensorRT, which a graph cannot contain
  synchronize();
  try {
    graph_ = capture();
    compute();
    synchronize();
  } catch (const Error&) {
    graph_.reset();
    synchronize();  // throws if the context is lost, which a failed capture need not show
    enqueue();      // checks that it works without a graph
    synchronize();
  }
}

void ExecutionContext::run(const std::vector<BatchFrame>& frames, const Outputs& outputs) {
  PreprocessBatchParams params = preprocessing_;
  params.frames = frames.data();
  params.count = static_cast<std::int64_t>(frames.size());
  const Status status = preprocess_batch_cuda(params, stream_.get());
  if (!status.ok()) fail(PVLR_ERROR_RUNTIME, "CUDA", "preprocessing", status.message);
  compute();
  const auto copy = [this](float* to, const float* from, std::size_t count) {
    if (count == 0) return;  // a plan without similarity
    cuda::check(cudaMemcpyAsync(to, from, kFloat * count, cudaMemcpyDeviceToHost, stream_.get()), "cudaMemcpyAsync");
  };
  copy(outputs.logits.get(), logits_.get(), frames.size() * shapes_.logits_size());
  copy(outputs.similarity.get(), similarity_.get(), frames.size() * shapes_.similarity_size());
  cuda::check(cudaEventRecord(end_.get(), stream_.get()), "cudaEventRecord");
}

void ExecutionContext::compute() {
  if (graph_ == nullptr) return enqueue();
  cuda::check(cudaGraphLaunch(graph_.get(), stream_.get()), "cudaGraphLaunch");
}

void ExecutionContext::wait() const {
  // Waking up takes longer than a small network.
  const auto asleep = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
  while (!has_ended() && std::chrono::steady_clock::now() < asleep) {
  }
  cuda::check(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
}

void ExecutionContext::bind(std::int32_t batch) {
  FirstError error;
  nvinfer1::Dims shape{};
  for (const std::int64_t size : {std::int64_t{batch}, std::int64_t{3}, shapes_.height, shapes_.width}) {
    shape.d[shape.nbDims++] = size;
  }
  if (!context_->setOptimizationProfileAsync(engine_.profile(), stream_.get())) {
    error.fail(engine_.source(), "optimisation profile " + std::to_string(engine_.profile()));
  }
  if (!context_->setInputShape(kImage, shape)) error.fail(engine_.source(), "batch " + std::to_string(batch));
  const auto set = [this, &error](const char* name, const cuda::DeviceMemory<float>& memory) {
    if (!context_->setTensorAddress(name, memory.get())) {
      error.fail(engine_.source(), std::string("an address for ") + name);
    }
  };
  set(kImage, image_);
  set(kLogits, logits_);
  if (shapes_.tokens != 0) set(kSimilarity, similarity_);
}

void ExecutionContext::enqueue() {
  FirstError error;
  if (context_->enqueueV3(stream_.get())) return;
  // TensorRT calls CUDA by itself: if that has lost the context, waiting shows it.
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  cuda::check(cudaStreamIsCapturing(stream_.get(), &capturing), "cudaStreamIsCapturing");
  if (capturing == cudaStreamCaptureStatusNone) synchronize();
  error.fail(engine_.source(), "an inference");
}

void ExecutionContext::synchronize() const {
  cuda::check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
}

cuda::ExecutableGraph ExecutionContext::capture() {
  // Thread-local: allocations by other threads do not invalidate the capture.
  cuda::check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaGraph_t captured = nullptr;
  try {
    enqueue();
  } catch (const Error&) {
    static_cast<void>(cudaStreamEndCapture(stream_.get(), &captured));
    const cuda::Graph unused(captured);
    throw;
  }
  cuda::check(cudaStreamEndCapture(stream_.get(), &captured), "cudaStreamEndCapture");
  const cuda::Graph graph(captured);
  cudaGraphExec_t executable = nullptr;
  cuda::check(cudaGraphInstantiateWithFlags(&executable, graph.get(), 0), "cudaGraphInstantiateWithFlags");
  return cuda::ExecutableGraph(executable);
}

}  // namespace pvlr::runtime::tensorrt
