// An engine without a network, in place of OpenVINO: every line of libpvlr that runs is compiled with the test's
// sanitizer, and inferences can fail. Each request has a thread of its own, and requests share nothing that is locked:
// a lock here could hide a race of the library.
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/engine/runner.h"
#include "runtime/error.h"
#include "runtime/preprocess.h"

namespace pvlr::runtime {
namespace {

// What the input's first pixel asks for, if the frame is of one colour with green 255 and blue 0: red 10, 20 or 30.
enum class Failure { kNone, kStart, kWait, kNotFinite };

Failure failure_of(const InputSpec& spec, const float* input) {
  const auto pixel = [&](std::size_t c) { return std::lround(input[c] * spec.std[c] + spec.mean[c]); };
  if (pixel(1) != 255 || pixel(2) != 0) return Failure::kNone;
  if (pixel(0) == 10) return Failure::kStart;
  if (pixel(0) == 20) return Failure::kWait;
  return pixel(0) == 30 ? Failure::kNotFinite : Failure::kNone;
}

// The logits of an open network are the biases of its labels, whatever the image.
struct FakeLabels final : LabelTensors {
  std::vector<float> logits;
};

class FakeRequest final : public Request {
 public:
  FakeRequest(const Manifest& manifest, std::atomic<bool>* tested)
      : manifest_(manifest),
        tested_(*tested),
        input_(std::size_t{3} * static_cast<std::size_t>(manifest.input.width * manifest.input.height)),
        logits_(manifest.room()),
        similarity_(logits_.size() * manifest.attention.tokens()),
        worker_([this] { work(); }) {}
  ~FakeRequest() override {
    post(State::kEnd);
    worker_.join();
  }

  void load(const InputFrame& frame) override { preprocess(manifest_.input, frame, input_.data()); }
  void start() override {
    if (failure_of(manifest_.input, input_.data()) == Failure::kStart) lose();
    post(State::kBusy);
  }
  bool wait(std::chrono::milliseconds timeout) override {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto has_ended = [this] { return state_ != State::kBusy; };
    if (timeout == kForever) {
      changed_.wait(lock, has_ended);
    } else if (!changed_.wait_for(lock, timeout, has_ended)) {
      return false;
    }
    if (failure_ == Failure::kWait) lose();
    return true;
  }
  void use(const std::shared_ptr<const LabelTensors>& labels) override { labels_ = labels; }
  const float* logits() const override { return logits_.data(); }
  const float* similarity() const override { return similarity_.data(); }

 private:
  enum class State { kIdle, kBusy, kEnd };

  [[noreturn]] static void lose() { fail(PVLR_ERROR_RUNTIME, "inference", "a finished inference", "none"); }

  void post(State state) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      state_ = state;
    }
    changed_.notify_all();
  }

  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return state_ != State::kIdle; });
      if (state_ == State::kEnd) return;
      infer();
      state_ = State::kIdle;
      changed_.notify_all();
    }
  }

  // Any function of the input; the first one of a network, which is the library's self-test, is the manifest's.
  void infer() {
    const bool first = !tested_.load(std::memory_order_relaxed);
    failure_ = failure_of(manifest_.input, input_.data());
    for (std::size_t i = 0; i < similarity_.size(); ++i) similarity_[i] = input_[i * 37 % input_.size()];
    for (std::size_t c = 0; c < logits_.size(); ++c) {
      logits_[c] = 0;
      for (std::size_t i = c; i < similarity_.size(); i += logits_.size()) logits_[c] += similarity_[i];
      if (labels_ != nullptr) logits_[c] = static_cast<const FakeLabels&>(*labels_).logits[c];
      if (first && c < manifest_.golden.logits.size()) logits_[c] = static_cast<float>(manifest_.golden.logits[c]);
    }
    if (failure_ == Failure::kNotFinite) logits_.back() = std::numeric_limits<float>::quiet_NaN();
    tested_.store(true, std::memory_order_relaxed);
  }

  const Manifest& manifest_;
  std::atomic<bool>& tested_;
  std::shared_ptr<const LabelTensors> labels_;
  std::vector<float> input_;
  std::vector<float> logits_;
  std::vector<float> similarity_;
  Failure failure_ = Failure::kNone;
  State state_ = State::kIdle;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread worker_;
};

class FakeRunner final : public Runner {
 public:
  explicit FakeRunner(const Manifest& manifest) : manifest_(manifest) {}

  const EngineInfo& info() const override { return info_; }
  std::unique_ptr<Request> create_request() override { return std::make_unique<FakeRequest>(manifest_, &tested_); }
  std::shared_ptr<const LabelTensors> read_labels(const LabelInputs& inputs) override {
    auto labels = std::make_shared<FakeLabels>();
    labels->logits = inputs.at("label_biases");
    return labels;
  }

 private:
  const Manifest manifest_;
  const EngineInfo info_{"fp32", 1, 2};
  std::atomic<bool> tested_{false};
};

}  // namespace

std::unique_ptr<Runner> load_openvino(const Bundle& bundle, const EngineOptions&) {
  return std::make_unique<FakeRunner>(bundle.manifest);
}

}  // namespace pvlr::runtime
