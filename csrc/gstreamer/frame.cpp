#include "frame.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "pvlr/pvlr.hpp"

namespace pvlr::gstreamer {
namespace {

std::int32_t format_of(GstVideoFormat format) {
  constexpr std::pair<GstVideoFormat, std::int32_t> kFormats[] = {
      {GST_VIDEO_FORMAT_NV12, PVLR_FORMAT_NV12}, {GST_VIDEO_FORMAT_I420, PVLR_FORMAT_I420},
      {GST_VIDEO_FORMAT_BGR, PVLR_FORMAT_BGR},   {GST_VIDEO_FORMAT_RGB, PVLR_FORMAT_RGB},
      {GST_VIDEO_FORMAT_BGRA, PVLR_FORMAT_BGRA}, {GST_VIDEO_FORMAT_BGRx, PVLR_FORMAT_BGRA},
      {GST_VIDEO_FORMAT_RGBA, PVLR_FORMAT_RGBA}, {GST_VIDEO_FORMAT_RGBx, PVLR_FORMAT_RGBA},
      {GST_VIDEO_FORMAT_GRAY8, PVLR_FORMAT_GRAY}};
  for (const auto& [known, read] : kFormats) {
    if (known == format) return read;
  }
  return 0;  // which libpvlr refuses
}

// GStreamer has filled in the matrix of the size where the caps have no colorimetry: BT.709 above 576 rows. The
// matrices that libpvlr lacks are read as the nearest of the two.
std::int32_t matrix_of(const GstVideoColorimetry& colorimetry) {
  const GstVideoColorMatrix matrix = colorimetry.matrix;
  const bool nearest_bt709 = matrix == GST_VIDEO_COLOR_MATRIX_BT709 || matrix == GST_VIDEO_COLOR_MATRIX_SMPTE240M ||
                             matrix == GST_VIDEO_COLOR_MATRIX_BT2020;
  return nearest_bt709 ? PVLR_MATRIX_BT709 : PVLR_MATRIX_BT601;
}

}  // namespace

MappedFrame::MappedFrame(GstVideoInfo info, GstBuffer* buffer) {
  // Without a reference to the buffer, which would make its metadata read-only.
  const auto flags = static_cast<GstMapFlags>(GST_MAP_READ | static_cast<int>(GST_VIDEO_FRAME_MAP_FLAG_NO_REF));
  if (gst_video_frame_map(&frame_, &info, buffer, flags)) return;
  throw std::runtime_error("buffer: expected a readable frame of " + std::to_string(info.size) + " bytes, got " +
                           std::to_string(gst_buffer_get_size(buffer)) + " bytes");
}

pvlr_frame MappedFrame::describe() const {
  auto frame = make<pvlr_frame>();
  frame.format = format_of(GST_VIDEO_FRAME_FORMAT(&frame_));
  frame.matrix = matrix_of(frame_.info.colorimetry);
  const bool full = frame_.info.colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255;
  frame.range = full ? PVLR_RANGE_FULL : PVLR_RANGE_LIMITED;
  frame.width = GST_VIDEO_FRAME_WIDTH(&frame_);
  frame.height = GST_VIDEO_FRAME_HEIGHT(&frame_);
  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES(&frame_); ++i) {
    frame.planes[i] = GST_VIDEO_FRAME_PLANE_DATA(&frame_, i);
    frame.pitches[i] = GST_VIDEO_FRAME_PLANE_STRIDE(&frame_, i);
  }
  return frame;
}

}  // namespace pvlr::gstreamer
