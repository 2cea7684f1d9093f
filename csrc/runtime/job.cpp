#include "job.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "error.h"
#include "tagger.h"

namespace pvlr::runtime {

Job::Job(std::unique_ptr<Request> request, const Tagger& tagger)
    : request_(std::move(request)), tagger_(tagger), weights_(tagger.manifest().attention.tokens()) {
  scores_.reserve(tagger.manifest().room());
  tags_.reserve(tagger.manifest().room());
}

void Job::start(const BatchFrame& frame, std::shared_ptr<Tagger> owner, std::shared_ptr<const Labels> labels) {
  owner_ = std::move(owner);
  labels_ = std::move(labels);
  scores_.resize(labels_->names.size());
  state_ = State::kIdle;
  region_ = tagger_.preprocess(frame, request_->input());
  state_ = State::kFailed;  // unless it starts
  request_->use(labels_->tensors);
  request_->start();
  state_ = State::kRunning;
}

bool Job::finish(std::chrono::milliseconds timeout) {
  if (state_ == State::kFinished) return true;
  if (state_ == State::kFailed) std::rethrow_exception(failure_);
  try {
    if (!request_->wait(timeout)) return false;
  } catch (...) {
    state_ = State::kFailed;
    failure_ = std::current_exception();
    throw;
  }
  compute_scores();
  choose_tags();
  state_ = State::kFinished;
  return true;
}

bool Job::recycle(std::shared_ptr<Tagger>* owner) noexcept {
  if (state_ == State::kRunning) {
    try {
      request_->wait(kForever);
    } catch (const std::exception&) {  // nobody asked for the result
      state_ = State::kFailed;
    }
  }
  *owner = std::move(owner_);
  labels_.reset();
  return state_ != State::kFailed;
}

// In double, and rounded once: as in Python, whatever the mathematical libraries of the two.
void Job::compute_scores() {
  const float* const logits = request_->logits();
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (!std::isfinite(logits[i])) {
      fail(PVLR_ERROR_NON_FINITE, tagger_.source(), "finite logits", "NaN or infinite values");
    }
    const double small = std::exp(-std::abs(static_cast<double>(logits[i])));
    scores_[i] = static_cast<float>((logits[i] >= 0 ? 1 : small) / (1 + small));
  }
}

void Job::choose_tags() {
  const std::vector<float>& thresholds = labels_->thresholds;
  tags_.clear();
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (scores_[i] >= thresholds[i]) tags_.push_back({labels_->pointers[i], i, scores_[i], thresholds[i]});
  }
  // Not std::stable_sort, which allocates.
  std::sort(tags_.begin(), tags_.end(), [](const pvlr_tag& a, const pvlr_tag& b) {
    return a.score != b.score ? a.score > b.score : a.index < b.index;
  });
}

pvlr_result Job::result() const {
  pvlr_result result{};
  result.tags = tags_.data();
  result.tag_count = tags_.size();
  result.label_count = scores_.size();
  result.scores = scores_.data();
  result.logits = request_->logits();
  result.region = {region_.left, region_.top, region_.width, region_.height};
  result.labels = labels_->pointers.data();
  result.thresholds = labels_->thresholds.data();
  return result;
}

void Job::map(std::size_t label, float* to) {
  const float* const similarity = request_->similarity() + label;
  double largest = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    weights_[i] = tagger_.manifest().attention.alpha * static_cast<double>(similarity[i * tagger_.manifest().room()]);
    largest = std::max(largest, weights_[i]);
  }
  double sum = 0;
  for (double& weight : weights_) sum += weight = std::exp(weight - largest);
  for (std::size_t i = 0; i < weights_.size(); ++i) to[i] = static_cast<float>(weights_[i] / sum);
}

}  // namespace pvlr::runtime
