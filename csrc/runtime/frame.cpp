#include "frame.h"

#include <cstdint>
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

// Rows that wrapped around the end of the address space would be read at other places.
void check_addresses(int plane, const void* top, std::int64_t pitch, std::int64_t rows, std::int64_t bytes) {
  const auto first = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(top));
  const auto span = static_cast<std::uint64_t>((rows - 1) * (pitch < 0 ? -pitch : pitch));  // less than 2^44
  const std::uint64_t behind = static_cast<std::uint64_t>(bytes) + (pitch < 0 ? 0 : span);
  if ((pitch >= 0 || span < first) && behind <= UINTPTR_MAX - first) return;
  fail(PVLR_ERROR_INVALID_ARGUMENT, "frame.planes[" + std::to_string(plane) + "]", "rows within the address space",
       "one beyond its end, with a pitch of " + std::to_string(pitch));
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
    const std::int64_t bytes = row_bytes(checked.format, frame.width, i);
    check_pitch(i, frame.pitches[i], bytes);
    check_addresses(i, frame.planes[i], frame.pitches[i], i == 0 ? frame.height : (frame.height + 1) / 2, bytes);
    checked.planes[i] = static_cast<const std::uint8_t*>(frame.planes[i]);
    checked.pitches[i] = frame.pitches[i];
  }
  return checked;
}

}  // namespace pvlr::runtime
