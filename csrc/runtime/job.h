// The inference of one frame, and its result.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "engine/runner.h"
#include "pvlr/preprocess.h"
#include "pvlr/pvlr.h"

namespace pvlr::runtime {

class Tagger;

// The labels that a result is computed with. Never changed: other labels are another object.
struct Labels {
  std::vector<std::string> names;
  std::vector<const char*> pointers;  // to the names
  std::vector<float> thresholds;
  std::shared_ptr<const LabelTensors> tensors;  // null for a closed plan
};

// Belongs to one thread at a time. Allocates in the constructor only.
class Job {
 public:
  Job(std::unique_ptr<Request> request, const Tagger& tagger);

  // Preprocesses a frame and starts its inference; `owner` lives at least until the job is recycled. Throws Error.
  void start(const BatchFrame& frame, std::shared_ptr<Tagger> owner, std::shared_ptr<const Labels> labels);

  // Waits for the inference and computes scores and tags; returns at once if it has. Returns whether it has ended
  // within the time. Throws Error, again in each call.
  bool finish(std::chrono::milliseconds timeout = kForever);

  // Waits for the inference and returns the owner; whether the job can be used again.
  bool recycle(std::shared_ptr<Tagger>* owner) noexcept;

  // Of a finished job. The struct's size is not set.
  pvlr_result result() const;

  std::size_t map_size() const { return weights_.size(); }
  // Computes the attention map of a label of a finished job: map_size() floats.
  void map(std::size_t label, float* to);

  const float* logits() const { return request_->logits(); }
  const std::vector<float>& scores() const { return scores_; }

 private:
  enum class State { kIdle, kRunning, kFinished, kFailed };

  void compute_scores();
  void choose_tags();

  std::unique_ptr<Request> request_;
  const Tagger& tagger_;
  std::shared_ptr<Tagger> owner_;         // while the caller has the job
  std::shared_ptr<const Labels> labels_;  // likewise
  State state_ = State::kIdle;
  std::exception_ptr failure_;  // of a job that failed while it was running
  Rectangle region_{};
  std::vector<float> scores_;  // these and the tags have room for all labels
  std::vector<pvlr_tag> tags_;
  std::vector<double> weights_;  // scratch of map()
};

}  // namespace pvlr::runtime
