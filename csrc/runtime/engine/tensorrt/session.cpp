#include "session.h"

#include <algorithm>
#include <thread>

#include "cuda.h"
#include "runtime/cores.h"
#include "runtime/error.h"

namespace pvlr::runtime::tensorrt {
namespace {

// While one batch computes, the next one is copied. A third context gains nothing: the GPU has one set of units.
constexpr std::size_t kWorkers = 2;

// What a function throws; null if it succeeds.
template <typename Function>
std::exception_ptr attempt(const Function& function) noexcept {
  try {
    function();
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

// Deserialises on the right device.
Engine make_engine(const Bundle& bundle, const Shapes& shapes, bool other_version, std::int32_t batch) {
  const cuda::DeviceScope device;
  return Engine(bundle, shapes, other_version, batch != bundle.manifest.tensorrt->batch[0]);
}

}  // namespace

void Slot::load(const InputFrame& frame) {
  cuda::require_context();
  const cuda::DeviceScope device;
  frame_.load(frame);
}

const float* Slot::logits() const { return outputs_->logits.get() + place_ * session_.shapes().logits_size(); }

const float* Slot::similarity() const {
  return outputs_->similarity.get() + place_ * session_.shapes().similarity_size();
}

void Slot::start() { session_.submit(*this); }

bool Slot::wait(std::chrono::milliseconds timeout) { return session_.wait(*this, timeout); }

Session::Session(const Bundle& bundle, std::int32_t batch, bool other_version)
    : shapes_(bundle.manifest), batch_(batch), engine_(make_engine(bundle, shapes_, other_version, batch)) {
  const cuda::DeviceScope device;
  idle_.reserve(kWorkers);
  running_.reserve(kWorkers);
  while (workers_.size() < kWorkers) {
    try {
      workers_.emplace_back(engine_, shapes_, bundle.manifest.input, batch_);
    } catch (const Error& error) {
      // One context will do, without overlap: on a small board, or if TensorRT refuses to share a profile.
      if (workers_.empty() || error.code() == PVLR_ERROR_DEVICE_LOST) throw;
      break;
    }
  }
  for (Worker& worker : workers_) idle_.push_back(&worker);
  info_ = {bundle.manifest.precision, available_cores(), batch_ * static_cast<std::int32_t>(workers_.size())};
}

Session::~Session() {
  attempt([this] {
    const cuda::DeviceScope device;
    workers_.clear();
    outputs_.clear();
  });
}

void Session::submit(Slot& slot) {
  const std::lock_guard<std::mutex> lock(mutex_);
  cuda::require_context();
  slot.done_ = false;
  slot.failure_ = nullptr;
  slot.outputs_ = nullptr;
  slot.next_ = nullptr;
  (first_ == nullptr ? first_ : last_->next_) = &slot;
  last_ = &slot;
  pump();
  if (slot.failure_ != nullptr) std::rethrow_exception(slot.failure_);
}

bool Session::wait(Slot& slot, std::chrono::milliseconds timeout) {
  const bool limited = timeout != kForever;
  const auto end = std::chrono::steady_clock::now() + (limited ? timeout : std::chrono::milliseconds(0));
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    if (cuda::is_lost()) abandon();
    if (slot.failure_ != nullptr) std::rethrow_exception(slot.failure_);
    if (slot.done_) return true;
    // A frame that was not launched waits for a context: the batch that was launched first frees one first.
    Worker& worker = slot.worker_ != nullptr ? *slot.worker_ : *running_.front();
    const std::uint64_t before = worker.finished;
    lock.unlock();
    // CUDA has no wait with a timeout, so it is asked every half millisecond.
    if (limited && !worker.context.has_ended()) {
      if (std::chrono::steady_clock::now() >= end) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(500));
      lock.lock();
      continue;
    }
    const std::exception_ptr failure = attempt([&worker] {
      const cuda::DeviceScope device;
      worker.context.wait();
    });
    lock.lock();
    if (worker.finished != before) continue;  // another thread has waited for it too
    finish(worker, failure);
    pump();
  }
}

// Launches batches while there are frames and free contexts.
void Session::pump() {
  while (first_ != nullptr && !idle_.empty()) {
    Worker& worker = *idle_.back();
    idle_.pop_back();
    running_.push_back(&worker);
    while (first_ != nullptr && worker.slots.size() < static_cast<std::size_t>(batch_)) {
      worker.slots.push_back(first_);
      first_->worker_ = &worker;
      first_ = first_->next_;
    }
    const std::exception_ptr failure = attempt([this, &worker] { launch(worker); });
    if (failure == nullptr) continue;
    worker.context.drain();  // copies from and to buffers that are about to be freed
    finish(worker, failure);
  }
}

void Session::launch(Worker& worker) {
  cuda::require_context();
  const cuda::DeviceScope device;
  const std::shared_ptr<Outputs>& outputs = unused_outputs();
  worker.frames.clear();
  for (Slot* const slot : worker.slots) {
    slot->outputs_ = outputs;
    slot->place_ = worker.frames.size();
    worker.context.load(slot->frame_);
    worker.frames.push_back(slot->frame_.description());
  }
  worker.context.run(worker.frames, *outputs);
}

// Outputs that no slot holds.
const std::shared_ptr<Outputs>& Session::unused_outputs() {
  for (const std::shared_ptr<Outputs>& outputs : outputs_) {
    if (outputs.use_count() == 1) return outputs;
  }
  return outputs_.emplace_back(std::make_shared<Outputs>(shapes_, batch_));
}

// Ends the batch of a running worker.
void Session::finish(Worker& worker, const std::exception_ptr& failure) {
  for (Slot* const slot : worker.slots) {
    slot->failure_ = failure;
    slot->worker_ = nullptr;
    slot->done_ = true;
  }
  worker.slots.clear();
  ++worker.finished;
  running_.erase(std::find(running_.begin(), running_.end(), &worker));
  idle_.push_back(&worker);
}

// Ends everything, because the CUDA context is lost.
void Session::abandon() {
  const std::exception_ptr failure = attempt(cuda::require_context);
  while (!running_.empty()) finish(*running_.front(), failure);
  pump();  // fails what waits
}

}  // namespace pvlr::runtime::tensorrt
