#include "tags.h"

namespace pvlr::gstreamer {

void register_metadata() {
  // Without tags: it describes neither the memory nor the size of the frame, so elements that change these keep it.
  static const gchar* tags[] = {nullptr};
  gst_meta_register_custom(kTags, tags, nullptr, nullptr, nullptr);
}

FoundTags::FoundTags(const char* model) : model_(model) {
  gst_value_array_init(&labels_, 0);
  gst_value_array_init(&scores_, 0);
}

FoundTags::~FoundTags() {
  g_value_unset(&labels_);
  g_value_unset(&scores_);
}

void FoundTags::add(const pvlr_tag& tag) {
  GValue label = G_VALUE_INIT;
  g_value_init(&label, G_TYPE_STRING);
  g_value_set_string(&label, tag.label);
  gst_value_array_append_and_take_value(&labels_, &label);
  GValue score = G_VALUE_INIT;
  g_value_init(&score, G_TYPE_FLOAT);
  g_value_set_float(&score, tag.score);
  gst_value_array_append_and_take_value(&scores_, &score);
}

void FoundTags::write(GstStructure* structure) const {
  gst_structure_set(structure, "model", G_TYPE_STRING, model_, nullptr);
  gst_structure_set_value(structure, "labels", &labels_);
  gst_structure_set_value(structure, "scores", &scores_);
}

void FoundTags::attach(GstBuffer* buffer) const {
  write(gst_custom_meta_get_structure(gst_buffer_add_custom_meta(buffer, kTags)));
}

GstStructure* times_of(const GstBuffer* buffer, const GstSegment& segment) {
  const GstClockTime timestamp = GST_BUFFER_PTS(buffer);
  GstClockTime stream_time = GST_CLOCK_TIME_NONE;
  GstClockTime running_time = GST_CLOCK_TIME_NONE;
  if (segment.format == GST_FORMAT_TIME) {
    stream_time = gst_segment_to_stream_time(&segment, GST_FORMAT_TIME, timestamp);
    running_time = gst_segment_to_running_time(&segment, GST_FORMAT_TIME, timestamp);
  }
  return gst_structure_new(kTags, "timestamp", GST_TYPE_CLOCK_TIME, timestamp, "stream-time", GST_TYPE_CLOCK_TIME,
                           stream_time, "running-time", GST_TYPE_CLOCK_TIME, running_time, "duration",
                           GST_TYPE_CLOCK_TIME, GST_BUFFER_DURATION(buffer), nullptr);
}

}  // namespace pvlr::gstreamer
