// What the element does between its start and its stop.
#pragma once

#include <gst/video/video.h>

#include <string>
#include <vector>

#include "pvlr/pvlr.hpp"

namespace pvlr::gstreamer {

// What libpvlr reads. RGBx and BGRx have no alpha, which it ignores anyway.
#define PVLR_GSTREAMER_FORMATS "{ NV12, I420, BGR, RGB, BGRA, RGBA, BGRx, RGBx, GRAY8 }"

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

  // Tags the frame in a buffer where it is, without a copy, and sets the fields model, labels and scores, best first.
  // Throws pvlr::Error, and std::runtime_error if the buffer has no such frame.
  void tag(GstVideoInfo video, GstBuffer* buffer, GstStructure* fields) const;

 private:
  Tagger tagger_;
  pvlr_info info_;
  std::vector<bool> wanted_;  // (C,)
};

}  // namespace pvlr::gstreamer
