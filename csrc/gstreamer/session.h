// What the element does between its start and its stop.
#pragma once

#include <string>
#include <vector>

#include "frame.h"
#include "pvlr/pvlr.hpp"
#include "tags.h"

namespace pvlr::gstreamer {

struct Settings {
  std::string plan;
  std::string labels;  // separated by commas; empty: all
  // As in pvlr_options; empty texts: the default.
  std::string device;
  std::string precision;
  std::string trust;
  int threads;
  float threshold;
  bool precise;  // the operating point
};

// An open plan, and which of its labels are wanted.
class Session {
 public:
  // Throws std::invalid_argument for a setting, and pvlr::Error for the plan.
  explicit Session(const Settings& settings);

  const pvlr_info& info() const { return info_; }

  // Throws pvlr::Error.
  void tag(const MappedFrame& frame, FoundTags* found) const;

 private:
  void choose(const std::string& labels);

  Tagger tagger_;
  pvlr_info info_;
  std::vector<bool> wanted_;  // (C,)
};

}  // namespace pvlr::gstreamer
