// What the element does between its start and its stop.
#pragma once

#include <gst/video/video.h>

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "pvlr/pvlr.hpp"

namespace pvlr::gstreamer {

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
  bool is_on_gpu() const { return std::string_view(info().backend) == "tensorrt"; }

  // Uses another label bank, or the plan's if the path is empty. Throws pvlr::Error, and the labels stay.
  void set_labels(const std::string& bank);

  // Tags the frame in a buffer where it is, without a copy (see place_of for GPU memory), and sets the fields model,
  // labels and scores, best first. Throws pvlr::Error, and std::runtime_error if the buffer has no such frame.
  void tag(GstVideoInfo video, GstBuffer* buffer, GstStructure* fields) const;

 private:
  const std::string plan_;
  Tagger tagger_;
  std::set<std::string, std::less<>> wanted_;  // empty: all labels
};

// Adds the tags of `fields` to the metadata that GStreamer has for them as of 1.24, beside what detectors before this
// element have found.
void add_analytics(GstBuffer* buffer, const GstStructure* fields);

// Frames in GPU memory (GStreamer's CUDAMemory). GStreamer's elements compute in a CUDA context of their own, whose
// memory libpvlr cannot read, unless they are given the one of libpvlr.
struct Place {  // how to read a frame
  pvlr_memory memory = PVLR_MEMORY_HOST;
  void* stream = nullptr;  // as in pvlr_frame
  int flags = GST_MAP_READ;
};

#ifdef PVLR_CUDA_MEMORY
// Whether the query was that of an element for the CUDA context to use, and got that of libpvlr.
bool answer_context_query(GstElement* element, GstQuery* query);

// Offers that context to the pipeline, for elements that are not linked yet, such as the decoder in a decodebin.
void announce_context(GstElement* element);

// GPU memory of another context, and all of it for a plan of the CPU, is read in host memory: GStreamer then copies it
// when it is mapped. Sets the offsets and strides of GPU memory in `video`, which a buffer need not describe.
Place place_of(GstBuffer* buffer, bool plan_on_gpu, GstVideoInfo* video);
#else
inline bool answer_context_query(GstElement*, GstQuery*) { return false; }
inline void announce_context(GstElement*) {}
inline Place place_of(GstBuffer*, bool, GstVideoInfo*) { return {}; }
#endif

}  // namespace pvlr::gstreamer
