// An open bundle: everything that computes its results, and the jobs that do.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/runner.h"
#include "job.h"

namespace pvlr::runtime {

struct TaggerOptions {
  EngineOptions engine;
  bool precise;                 // the operating point
  float threshold;              // of all labels; 0: the plan's
  std::filesystem::path trust;  // the keys that may sign the bundle; empty: none
  std::string device;           // "auto", "cpu" or "tensorrt"
  Layout tiles;                 // of each frame
};

// Thread-safe. Jobs that are in use keep it alive.
class Tagger : public std::enable_shared_from_this<Tagger> {
 public:
  // Opens and tests a bundle. Throws Error.
  static std::shared_ptr<Tagger> open(const std::filesystem::path& plan, const TaggerOptions& options);

  // A job that runs with the labels in use; the caller recycles it. Throws Error.
  Job* submit(const InputFrame& frame) {
    return submit(frame, layout_of(options_.tiles, frame.width, frame.height, manifest_.input), labels());
  }
  static void recycle(Job* job) noexcept;

  // Uses another label bank from now on; only for an open plan. Jobs that have started keep their labels. Throws Error.
  void set_labels(const std::filesystem::path& bank);

  // The struct's size is not set.
  pvlr_info info() const;
  const Manifest& manifest() const { return manifest_; }
  std::unique_ptr<Request> create_request() const { return runner_->create_request(); }
  const std::string& source() const { return source_; }

 private:
  Tagger(const Bundle& bundle, const TaggerOptions& options, std::unique_ptr<Runner> runner);

  std::shared_ptr<const Labels> read_labels(const LabelBank& bank, const std::string& source) const;
  // The row in the plan of each label for which the plan's thresholds for tiles hold.
  std::vector<std::optional<std::size_t>> measured_rows(const LabelBank& bank) const;
  std::shared_ptr<const Labels> labels() const;
  Job* submit(const InputFrame& frame, const Layout& layout, std::shared_ptr<const Labels> labels);
  // Compares the logits of the golden image with the manifest's.
  void self_test();
  std::unique_ptr<Job> acquire();

  const std::string source_;
  const Manifest manifest_;
  const LabelBank own_labels_;
  const Image golden_;
  const TaggerOptions options_;
  const std::unique_ptr<Runner> runner_;
  const pid_t process_;

  std::mutex setting_;        // one thread at a time sets labels
  mutable std::mutex mutex_;  // of what follows
  std::shared_ptr<const Labels> labels_;
  std::vector<std::unique_ptr<Job>> idle_;  // has room for all jobs
  std::size_t jobs_ = 0;                    // in use or idle
};

}  // namespace pvlr::runtime
