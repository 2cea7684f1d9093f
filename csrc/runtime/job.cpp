#include "job.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "error.h"
#include "preprocess.h"
#include "tagger.h"

namespace pvlr::runtime {

void Labels::thresholds_for(const Layout& layout, std::vector<float>* to) const {
  to->assign(thresholds.begin(), thresholds.end());
  if (layout.count() == 1 || !corrected) return;
  const auto found = tiled.find(std::to_string(layout.columns) + "x" + std::to_string(layout.rows));
  const double factor = std::sqrt(std::sqrt(1.0 + layout.count()));
  for (std::size_t i = 0; i < to->size(); ++i) {
    const double odds = static_cast<double>((*to)[i]) / (1 - static_cast<double>((*to)[i])) * factor;
    const float measured = found == tiled.end() ? kUnknown : found->second[i];
    const float higher = std::isnan(measured) ? static_cast<float>(odds / (1 + odds)) : measured;
    (*to)[i] = std::max((*to)[i], higher);
  }
}

Job::Job(std::unique_ptr<Request> request, const Tagger& tagger)
    : tagger_(tagger), weights_(tagger.manifest().attention.tokens()) {
  requests_.push_back(std::move(request));
  logits_.reserve(tagger.manifest().room());
  scores_.reserve(tagger.manifest().room());
  thresholds_.reserve(tagger.manifest().room());
  tags_.reserve(tagger.manifest().room());
}

void Job::start(InputFrame frame, const Layout& layout, std::shared_ptr<Tagger> owner,
                std::shared_ptr<const Labels> labels) {
  owner_ = std::move(owner);
  labels_ = std::move(labels);
  logits_.resize(labels_->names.size());
  scores_.resize(labels_->names.size());
  labels_->thresholds_for(layout, &thresholds_);
  started_ = ended_ = 0;
  state_ = State::kIdle;
  const Rectangles regions = rectangles(layout, frame.width, frame.height);
  while (requests_.size() < regions.size) requests_.push_back(tagger_.create_request());
  while (started_ < regions.size) {
    Request& request = *requests_[started_];
    frame.crop = regions.items[started_];
    frame.region = region_of(tagger_.manifest().input, frame.crop.width, frame.crop.height);
    request.load(frame);
    if (started_ == 0) region_ = frame.region;
    state_ = State::kFailed;  // unless it starts
    request.use(labels_->tensors);
    request.start();
    state_ = State::kRunning;
    ++started_;
  }
}

bool Job::finish(std::chrono::milliseconds timeout) {
  if (state_ == State::kFinished) return true;
  if (state_ == State::kFailed) std::rethrow_exception(failure_);
  const auto began = std::chrono::steady_clock::now();
  try {
    for (; ended_ < started_; ++ended_) {
      const auto passed = std::chrono::floor<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
      const auto rest = timeout == kForever ? timeout : std::max(timeout - passed, std::chrono::milliseconds(0));
      if (!requests_[ended_]->wait(rest)) return false;
    }
  } catch (...) {
    ++ended_;
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
  for (; ended_ < started_; ++ended_) {
    try {
      requests_[ended_]->wait(kForever);
    } catch (const std::exception&) {  // nobody asked for the result
      state_ = State::kFailed;
    }
  }
  *owner = std::move(owner_);
  labels_.reset();
  return state_ != State::kFailed;
}

// With tiles, a logit is the mean of the whole frame's and the best tile's. The score in double, and rounded once: as
// in Python, whatever the mathematical libraries of the two.
void Job::compute_scores() {
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    float best = -std::numeric_limits<float>::infinity();
    for (std::size_t tile = 0; tile < started_; ++tile) {
      const float logit = requests_[tile]->logits()[i];
      if (!std::isfinite(logit)) {
        fail(PVLR_ERROR_NON_FINITE, tagger_.source(), "finite logits", "NaN or infinite values");
      }
      if (tile > 0 || started_ == 1) best = std::max(best, logit);
    }
    logits_[i] = 0.5F * (requests_[0]->logits()[i] + best);
    const double small = std::exp(-std::abs(static_cast<double>(logits_[i])));
    scores_[i] = static_cast<float>((logits_[i] >= 0 ? 1 : small) / (1 + small));
  }
}

void Job::choose_tags() {
  tags_.clear();
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (scores_[i] >= thresholds_[i]) tags_.push_back({labels_->pointers[i], i, scores_[i], thresholds_[i]});
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
  result.logits = logits_.data();
  result.region = {region_.left, region_.top, region_.width, region_.height};
  result.labels = labels_->pointers.data();
  result.thresholds = thresholds_.data();
  return result;
}

void Job::map(std::size_t label, float* to) {
  const std::optional<TensorRtSpec>& spec = tagger_.manifest().tensorrt;
  if (spec && !spec->maps) fail(PVLR_ERROR_UNSUPPORTED, tagger_.source(), "a plan with attention maps", "one without");
  const float* const similarity = requests_[0]->similarity() + label;
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
