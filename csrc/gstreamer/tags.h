// Tags in the types of GStreamer.
#pragma once

#include <gst/gst.h>

#include "pvlr/pvlr.h"

namespace pvlr::gstreamer {

// The name of the messages, of the metadata and of their structures.
inline constexpr char kTags[] = "pvlr-tags";

// Call once before `attach`.
void register_metadata();

// The tags of a frame, best first.
class FoundTags {
 public:
  explicit FoundTags(const char* model);
  ~FoundTags();
  FoundTags(const FoundTags&) = delete;
  FoundTags& operator=(const FoundTags&) = delete;

  void add(const pvlr_tag& tag);

  // Writes the fields model, labels and scores.
  void write(GstStructure* structure) const;
  // Adds metadata to a writable buffer.
  void attach(GstBuffer* buffer) const;

 private:
  const char* model_;
  GValue labels_ = G_VALUE_INIT;  // GstValueArrays
  GValue scores_ = G_VALUE_INIT;
};

// A structure with the times of a buffer, as those of the element "level".
GstStructure* times_of(const GstBuffer* buffer, const GstSegment& segment);

}  // namespace pvlr::gstreamer
