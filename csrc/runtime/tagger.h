// An open bundle: everything that computes its results, and the jobs that do.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/runner.h"
#include "job.h"
#include "preprocess.h"

namespace pvlr::runtime {

struct TaggerOptions {
  EngineOptions engine;
  bool precise;                 // the operating point
  float threshold;              // of all labels; 0: the plan's
  std::filesystem::path trust;  // the keys that may sign the bundle; empty: none
  std::string device;           // "auto", "cpu" or "tensorrt"
};

// Thread-safe. Jobs that are in use keep it alive.
class Tagger : public std::enable_shared_from_this<Tagger> {
 public:
  // Opens and tests a bundle. Throws Error.
  static std::shared_ptr<Tagger> open(const std::filesystem::path& plan, const TaggerOptions& options);

  // A job that runs; the caller recycles it. Throws Error.
  Job* submit(const BatchFrame& frame);
  static void recycle(Job* job) noexcept;

  // The struct's size is not set.
  const pvlr_info& info() const { return info_; }
  const AttentionSpec& attention() const { return manifest_.attention; }
  Rectangle preprocess(const BatchFrame& frame, float* input) const {
    return runtime::preprocess(manifest_.input, runner_->info().packed_input, frame, input);
  }
  const std::string& source() const { return source_; }

 private:
  Tagger(const Bundle& bundle, const TaggerOptions& options, std::unique_ptr<Runner> runner);

  // Compares the logits of the golden image with the manifest's.
  void self_test(const Image& image);
  std::unique_ptr<Job> acquire();

  const std::string source_;
  const Manifest manifest_;
  const std::unique_ptr<Runner> runner_;
  const pid_t process_;
  std::vector<float> thresholds_;
  std::vector<const char*> names_;
  pvlr_info info_{};

  std::mutex mutex_;
  std::vector<std::unique_ptr<Job>> idle_;  // has room for all jobs
  std::size_t jobs_ = 0;                    // in use or idle
};

}  // namespace pvlr::runtime
