// The inference of one frame, and its result.
#pragma once

#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/runner.h"
#include "pvlr/pvlr.h"
#include "tiles.h"

namespace pvlr::runtime {

class Tagger;

constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();

// The labels that a result is computed with. Never changed: other labels are another object.
struct Labels {
  std::vector<std::string> names;
  std::vector<const char*> pointers;  // to the names
  std::vector<float> thresholds;
  std::map<std::string, std::vector<float>> tiled;  // thresholds by tile layout, where the plan has them, or kUnknown
  bool corrected;                                   // whether thresholds of other layouts rise
  std::shared_ptr<const LabelTensors> tensors;      // null for a closed plan

  // The thresholds for frames in a tile layout.
  void thresholds_for(const Layout& layout, std::vector<float>* to) const;
};

// Belongs to one thread at a time. Allocates in the constructor, and for more tiles than any frame had before.
class Job {
 public:
  Job(std::unique_ptr<Request> request, const Tagger& tagger);

  // Starts the inference of a frame and of its tiles; `owner` lives at least until the job is recycled.
  // Throws Error.
  void start(InputFrame frame, const Layout& layout, std::shared_ptr<Tagger> owner,
             std::shared_ptr<const Labels> labels);

  // Waits for the inference and computes scores and tags; returns at once if it has. Returns whether it has ended
  // within the time. Throws Error, again in each call.
  bool finish(std::chrono::milliseconds timeout = kForever);

  // Waits for the inference and returns the owner; whether the job can be used again.
  bool recycle(std::shared_ptr<Tagger>* owner) noexcept;

  // Of a finished job. The struct's size is not set.
  pvlr_result result() const;

  std::size_t map_size() const { return weights_.size(); }
  // Computes the attention map of a label for the whole frame of a finished job: map_size() floats.
  void map(std::size_t label, float* to);

  const float* logits() const { return logits_.data(); }
  const std::vector<float>& scores() const { return scores_; }

 private:
  enum class State { kIdle, kRunning, kFinished, kFailed };

  void compute_scores();
  void choose_tags();

  std::vector<std::unique_ptr<Request>> requests_;  // of the whole frame, then of its tiles
  std::size_t started_ = 0;
  std::size_t ended_ = 0;
  const Tagger& tagger_;
  std::shared_ptr<Tagger> owner_;         // while the caller has the job
  std::shared_ptr<const Labels> labels_;  // likewise
  State state_ = State::kIdle;
  std::exception_ptr failure_;  // of a job that failed while it was running
  Rectangle region_{};
  std::vector<float> logits_;  // these, the thresholds and the tags have room for all labels
  std::vector<float> scores_;
  std::vector<float> thresholds_;
  std::vector<pvlr_tag> tags_;
  std::vector<double> weights_;  // scratch of map()
};

}  // namespace pvlr::runtime
