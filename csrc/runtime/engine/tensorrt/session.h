// A plan running on the GPU: its execution contexts, and the batches in flight in them. The counterpart of
// pvlr_sdk/backends/tensorrt/session.py.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "context.h"
#include "engine.h"
#include "runtime/engine/runner.h"

namespace pvlr::runtime::tensorrt {

class Session;
struct Worker;

// One frame, and where its inference is.
class Slot final : public Request {
 public:
  explicit Slot(Session& session) : session_(session) {}

  void load(const InputFrame& frame) override;
  void start() override;
  bool wait(std::chrono::milliseconds timeout) override;
  const float* logits() const override;
  const float* similarity() const override;

 private:
  friend class Session;

  Session& session_;
  Frame frame_;
  // The rest is guarded by the session's mutex while the frame is in flight.
  std::shared_ptr<Outputs> outputs_;  // of the batch; held until the next start()
  std::size_t place_ = 0;             // in the batch
  bool done_ = true;
  std::exception_ptr failure_;  // of a frame that is done
  Worker* worker_ = nullptr;    // that computes it; null while it waits for one
  Slot* next_ = nullptr;        // in the queue
};

// An execution context and the batch in it.
struct Worker {
  Worker(const Engine& engine, const Shapes& shapes, const InputSpec& spec, std::int32_t batch)
      : context(engine, shapes, spec, batch) {
    slots.reserve(static_cast<std::size_t>(batch));
    frames.reserve(static_cast<std::size_t>(batch));
  }

  ExecutionContext context;
  std::vector<Slot*> slots;
  std::vector<BatchFrame> frames;  // of the slots
  std::uint64_t finished = 0;      // batches
};

// Frames wait in one queue. A free execution context takes the next ones, up to `batch`: batches form while the GPU is
// busy, and no frame waits while it is idle. Every inference has the full batch size, unused places included: another
// size would run other kernels, and the same frame would get other logits.
//
// Thread-safe. Allocates in the constructor, and for more frames in use than ever before. All functions may throw
// Error.
class Session final : public Runner {
 public:
  Session(const Bundle& bundle, std::int32_t batch, bool other_version);
  ~Session() override;

  const EngineInfo& info() const override { return info_; }
  std::unique_ptr<Request> create_request() override { return std::make_unique<Slot>(*this); }
  const Shapes& shapes() const { return shapes_; }

  // Queues a slot's frame, and launches batches where possible.
  void submit(Slot& slot);
  // Waits for a slot's outputs; whether they came within the time. Whatever it throws, the slot is no longer in use.
  bool wait(Slot& slot, std::chrono::milliseconds timeout);

 private:
  void pump();
  void launch(Worker& worker);
  const std::shared_ptr<Outputs>& unused_outputs();
  void finish(Worker& worker, const std::exception_ptr& failure);
  void abandon();

  EngineInfo info_{};
  const Shapes shapes_;
  const std::int32_t batch_;
  const Engine engine_;
  std::deque<Worker> workers_;

  std::mutex mutex_;
  std::vector<std::shared_ptr<Outputs>> outputs_;
  std::vector<Worker*> idle_;     // both have room for all workers
  std::vector<Worker*> running_;  // the one that was launched first comes first
  Slot* first_ = nullptr;         // of the queue
  Slot* last_ = nullptr;
};

}  // namespace pvlr::runtime::tensorrt
