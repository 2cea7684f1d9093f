#include "frame.h"

#include <string>

#include "error.h"
#include "host/preprocess/check.h"

namespace pvlr::runtime {
namespace {

[[noreturn]] void refuse(const std::string& member, const std::string& expected, std::int64_t got) {
  fail(PVLR_ERROR_INVALID_ARGUMENT, "frame." + member, expected, std::to_string(got));
}

PixelFormat checked_format(std::int32_t format) {
  switch (format) {
    case PVLR_FORMAT_BGR:
      return PixelFormat::kBgr;
    case PVLR_FORMAT_RGB:
      return PixelFormat::kRgb;
    case PVLR_FORMAT_BGRA:
      return PixelFormat::kBgra;
    case PVLR_FORMAT_RGBA:
      return PixelFormat::kRgba;
    case PVLR_FORMAT_GRAY:
      return PixelFormat::kGray;
    case PVLR_FORMAT_NV12:
      return PixelFormat::kNv12;
    case PVLR_FORMAT_I420:
      return PixelFormat::kI420;
    default:
      refuse("format", "a pvlr_format", format);
  }
}

YuvMatrix checked_matrix(std::int32_t matrix) {
  if (matrix == PVLR_MATRIX_BT601) return YuvMatrix::kBt601;
  if (matrix == PVLR_MATRIX_BT709) return YuvMatrix::kBt709;
  refuse("matrix", "a pvlr_matrix", matrix);
}

YuvRange checked_range(std::int32_t range) {
  if (range == PVLR_RANGE_LIMITED) return YuvRange::kLimited;
  if (range == PVLR_RANGE_FULL) return YuvRange::kFull;
  refuse("range", "a pvlr_range", range);
}

void check_side(const char* name, std::int32_t side) {
  if (side < 1 || side > kMaxBatchSide) refuse(name, "1 to " + std::to_string(kMaxBatchSide) + " pixels", side);
}

void check_pitch(int plane, std::int64_t pitch, std::int64_t least) {
  const bool in_range = pitch <= kMaxPitch && pitch >= -kMaxPitch;
  if (in_range && (pitch < 0 ? -pitch : pitch) >= least) return;
  const std::string member = "pitches[" + std::to_string(plane) + "]";
  if (in_range) refuse(member, "at least " + std::to_string(least) + " bytes per row", pitch);
  refuse(member, "at most " + std::to_string(kMaxPitch) + " bytes per row", pitch);
}

}  // namespace

BatchFrame checked_frame(const pvlr_frame& frame) {
  BatchFrame checked{};
  checked.format = checked_format(frame.format);
  if (is_yuv(checked.format)) {
    checked.matrix = checked_matrix(frame.matrix);
    checked.range = checked_range(frame.range);
  }
  check_side("width", frame.width);
  check_side("height", frame.height);
  checked.width = frame.width;
  checked.height = frame.height;
  checked.crop = {0, 0, frame.width, frame.height};
  for (int i = 0; i < plane_count(checked.format); ++i) {
    if (frame.planes[i] == nullptr) {
      fail(PVLR_ERROR_INVALID_ARGUMENT, "frame.planes[" + std::to_string(i) + "]", "a plane of the format", "null");
    }
    check_pitch(i, frame.pitches[i], row_bytes(checked.format, frame.width, i));
    checked.planes[i] = static_cast<const std::uint8_t*>(frame.planes[i]);
    checked.pitches[i] = frame.pitches[i];
  }
  return checked;
}

}  // namespace pvlr::runtime
