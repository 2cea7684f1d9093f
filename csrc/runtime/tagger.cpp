#include "tagger.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "error.h"

namespace pvlr::runtime {
namespace {

constexpr Layout kWhole{1, 1};

struct Recycler {
  void operator()(Job* job) const noexcept { Tagger::recycle(job); }
};
using UsedJob = std::unique_ptr<Job, Recycler>;

std::string rounded(double value) {
  std::ostringstream text;
  text.precision(3);
  text << value;
  return text.str();
}

InputFrame frame_of(const Image& image) {
  InputFrame frame{};
  frame.planes[0] = image.pixels.data();
  frame.pitches[0] = std::int64_t{3} * image.width;
  frame.width = image.width;
  frame.height = image.height;
  frame.format = PixelFormat::kBgr;
  frame.crop = {0, 0, image.width, image.height};
  return frame;
}

// The engine's threads do not exist in a forked child: an inference would never end.
void check_process(pid_t process) {
  if (getpid() == process) return;
  fail(PVLR_ERROR_INVALID_ARGUMENT, "tagger", "one opened in this process", "one from a fork");
}

std::unique_ptr<Runner> load(const Bundle& bundle, const TaggerOptions& options) {
  const bool tensorrt = bundle.manifest.tensorrt.has_value();
  const std::string device = tensorrt ? "tensorrt" : "cpu";
  if (options.device != "auto" && options.device != device) {
    fail(PVLR_ERROR_UNSUPPORTED, bundle.source, "a plan for " + options.device, "one for " + device);
  }
  return tensorrt ? load_tensorrt(bundle, options.engine) : load_openvino(bundle, options.engine);
}

}  // namespace

std::shared_ptr<Tagger> Tagger::open(const std::filesystem::path& plan, const TaggerOptions& options) {
  const Bundle bundle = open_bundle(plan, options.trust);
  std::shared_ptr<Tagger> tagger(new Tagger(bundle, options, load(bundle, options)));
  tagger->self_test();
  // Not before: a bundle that does not work must not lock out its predecessor.
  if (bundle.signature) accept_version(*bundle.signature);
  return tagger;
}

Tagger::Tagger(const Bundle& bundle, const TaggerOptions& options, std::unique_ptr<Runner> runner)
    : source_(bundle.source),
      manifest_(bundle.manifest),
      own_labels_(bundle.labels),
      golden_(bundle.golden),
      options_(options),
      runner_(std::move(runner)),
      process_(getpid()),
      labels_(read_labels(bundle.labels, bundle.source)) {}

std::shared_ptr<const Labels> Tagger::read_labels(const LabelBank& bank, const std::string& source) const {
  auto labels = std::make_shared<Labels>();
  labels->names = bank.names;
  for (const std::string& name : labels->names) labels->pointers.push_back(name.c_str());
  labels->thresholds = options_.precise ? bank.precise_thresholds : bank.thresholds;
  labels->corrected = options_.threshold == 0;
  if (!labels->corrected) labels->thresholds.assign(bank.names.size(), options_.threshold);
  if (manifest_.open) labels->tensors = runner_->read_labels(label_inputs(bank, *manifest_.open, source));
  if (manifest_.tiles.empty()) return labels;
  const std::vector<std::optional<std::size_t>> rows = measured_rows(bank);
  for (const auto& [name, points] : manifest_.tiles) {
    const std::vector<double>& values = options_.precise ? points.precise : points.f1;
    std::vector<float>& tiled = labels->tiled[name];
    for (const auto& row : rows) tiled.push_back(row ? static_cast<float>(values[*row]) : kUnknown);
  }
  return labels;
}

std::vector<std::optional<std::size_t>> Tagger::measured_rows(const LabelBank& bank) const {
  std::vector<std::optional<std::size_t>> rows(bank.names.size());
  if (bank.sha256 == own_labels_.sha256) {
    for (std::size_t label = 0; label < rows.size(); ++label) rows[label] = label;
    return rows;
  }
  rows = same_labels(own_labels_, bank, *manifest_.open);  // a closed plan has no other bank
  const std::vector<float>& before = options_.precise ? own_labels_.precise_thresholds : own_labels_.thresholds;
  const std::vector<float>& after = options_.precise ? bank.precise_thresholds : bank.thresholds;
  for (std::size_t label = 0; label < rows.size(); ++label) {
    if (rows[label] && before[*rows[label]] != after[label]) rows[label].reset();
  }
  return rows;
}

std::shared_ptr<const Labels> Tagger::labels() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return labels_;
}

pvlr_info Tagger::info() const {
  const std::shared_ptr<const Labels> used = labels();
  const EngineInfo& engine = runner_->info();
  pvlr_info info{};
  info.name = manifest_.name.c_str();
  info.sha256 = manifest_.plan.sha256.c_str();
  info.backend = manifest_.backend.c_str();
  info.precision = engine.precision.c_str();
  info.threads = engine.threads;
  info.parallel = engine.parallel;
  info.label_count = used->names.size();
  info.labels = used->pointers.data();
  info.thresholds = used->thresholds.data();
  info.input_width = manifest_.input.width;
  info.input_height = manifest_.input.height;
  info.map_rows = manifest_.attention.rows;
  info.map_columns = manifest_.attention.columns;
  return info;
}

void Tagger::set_labels(const std::filesystem::path& path) {
  if (!manifest_.open) fail(PVLR_ERROR_UNSUPPORTED, source_, "an open plan", "one whose labels are part of it");
  check_process(process_);
  const std::lock_guard<std::mutex> order(setting_);
  std::optional<Signature> signature;
  const LabelBank bank = load_label_bank(path, options_.trust, &signature);
  std::shared_ptr<const Labels> labels = read_labels(bank, path.string());
  // Scores of 0 or 1 would hardly change with the frame.
  const UsedJob job(submit(frame_of(golden_), kWhole, labels));
  job->finish();
  for (const float score : job->scores()) {
    if (score > 0 && score < 1) continue;
    fail(PVLR_ERROR_INVALID_BUNDLE, path.string(), "scores between 0 and 1 for the golden image", "others");
  }
  if (signature) accept_version(*signature);
  const std::lock_guard<std::mutex> lock(mutex_);
  labels_.swap(labels);
}

void Tagger::self_test() {
  const UsedJob job(submit(frame_of(golden_), kWhole, labels()));
  job->finish();
  double difference = 0;
  const std::vector<double>& golden = manifest_.golden.logits;
  for (std::size_t i = 0; i < golden.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(job->logits()[i]) - golden[i]));
  }
  const std::string& precision = runner_->info().precision;
  const auto tolerance = manifest_.golden.tolerance.find(precision);
  if (tolerance == manifest_.golden.tolerance.end()) {
    fail(PVLR_ERROR_SELF_TEST, source_, "a tolerance of the golden logits for " + precision, "none");
  }
  if (difference > tolerance->second) {
    fail(PVLR_ERROR_SELF_TEST, source_, "golden logits within " + rounded(tolerance->second) + " (" + precision + ")",
         "a difference of " + rounded(difference));
  }
}

Job* Tagger::submit(const InputFrame& frame, const Layout& layout, std::shared_ptr<const Labels> labels) {
  check_process(process_);
  UsedJob job(acquire().release());
  job->start(frame, layout, shared_from_this(), std::move(labels));
  return job.release();
}

std::unique_ptr<Job> Tagger::acquire() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Job> job = std::move(idle_.back());
      idle_.pop_back();
      return job;
    }
  }
  auto job = std::make_unique<Job>(runner_->create_request(), *this);
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.reserve(jobs_ + 1);  // now, so that recycle() cannot fail
  ++jobs_;
  return job;
}

void Tagger::recycle(Job* job) noexcept {
  std::shared_ptr<Tagger> owner;  // may be the last one, and so outlives the job
  std::unique_ptr<Job> used(job);
  const bool usable = used->recycle(&owner);
  const std::lock_guard<std::mutex> lock(owner->mutex_);
  if (usable) {
    owner->idle_.push_back(std::move(used));
  } else {
    --owner->jobs_;
  }
}

}  // namespace pvlr::runtime
