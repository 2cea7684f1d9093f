// Frames of GStreamer as libpvlr takes them.
#pragma once

#include <gst/video/video.h>

#include "pvlr/pvlr.h"

namespace pvlr::gstreamer {

// What `describe` knows. RGBx and BGRx have no alpha, which libpvlr ignores anyway.
#define PVLR_GSTREAMER_FORMATS "{ NV12, I420, BGR, RGB, BGRA, RGBA, BGRx, RGBx, GRAY8 }"

// A buffer that is mapped for reading.
class MappedFrame {
 public:
  MappedFrame(GstVideoInfo info, GstBuffer* buffer);
  ~MappedFrame() { gst_video_frame_unmap(&frame_); }
  MappedFrame(const MappedFrame&) = delete;
  MappedFrame& operator=(const MappedFrame&) = delete;

  // The frame where it is: nothing is copied.
  pvlr_frame describe() const;

 private:
  GstVideoFrame frame_;
};

}  // namespace pvlr::gstreamer
