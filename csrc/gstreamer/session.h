// What the element does between its start and its stop.
#pragma once

#include <gst/video/video.h>

#include <functional>
#include <set>
#include <string>

#include "pvlr/pvlr.hpp"

namespace pvlr::gstreamer {

// What libpvlr reads. RGBx and BGRx have no alpha, which it ignores anyway.
#define PVLR_GSTREAMER_FORMATS "{ NV12, I420, BGR, RGB, BGRA, RGBA, BGRx, RGBx, GRAY8 }"

struct Settings {
  std::string plan;
  std::string bank;    // path of a label bank; empty: the plan's
  std::string labels;  // separated by commas; empty: all
  // As in pvlr_options; empty texts: the default.
  std::string device;
  std::string precision;
  std::string trust;
  std::string tiles;  // columns x rows or auto
  int threads;
  float threshold;
  bool precise;  // the operating point
};

// An open plan, and which of its labels are wanted.
class Session {
 public:
  // Throws std::invalid_argument for a setting, and pvlr::Error for the plan.
  explicit Session(const Settings& settings);

  pvlr_info info() const { return tagger_.info(); }

  // Uses another label bank, or the plan's if the path is empty. Throws pvlr::Error, and the labels stay.
  void set_labels(const std::string& bank);

  // Tags the frame in a buffer where it is, without a copy, and sets the fields model, labels and scores, best first.
  // Throws pvlr::Error, and std::runtime_error if the buffer has no such frame.
  void tag(GstVideoInfo video, GstBuffer* buffer, GstStructure* fields) const;

 private:
  const std::string plan_;
  Tagger tagger_;
  std::set<std::string, std::less<>> wanted_;  // empty: all labels
};

// Adds the tags of `fields` to the metadata that GStreamer has for them as of 1.24, beside what detectors before this
// element have found.
void add_analytics(GstBuffer* buffer, const GstStructure* fields);

}  // namespace pvlr::gstreamer
