#include "images.h"

#include <cerrno>
#include <limits>
#include <stdexcept>
#include <system_error>

#include "pvlr/pvlr.hpp"

namespace program {
namespace {

constexpr std::int32_t kMaxSide = 16384;  // of the library

struct Plane {
  std::int64_t pitch;
  std::int64_t rows;
};

std::vector<Plane> planes_of(const RawLayout& layout) {
  const std::int64_t width = layout.width;
  const std::int64_t height = layout.height;
  const std::int64_t half_width = (width + 1) / 2;
  const std::int64_t half_height = (height + 1) / 2;
  switch (layout.format) {
    case PVLR_FORMAT_NV12:
      return {{width, height}, {2 * half_width, half_height}};
    case PVLR_FORMAT_I420:
      return {{width, height}, {half_width, half_height}, {half_width, half_height}};
    case PVLR_FORMAT_GRAY:
      return {{width, height}};
    case PVLR_FORMAT_BGRA:
    case PVLR_FORMAT_RGBA:
      return {{4 * width, height}};
    default:
      return {{3 * width, height}};
  }
}

}  // namespace

FrameReader::FrameReader(const std::string& path, const std::optional<RawLayout>& raw)
    : file_(path, std::ios::binary), raw_(raw) {
  if (!file_) throw std::runtime_error(std::generic_category().message(errno));
  if (file_.peek() == std::ifstream::traits_type::eof()) throw std::runtime_error("the file is empty");
}

bool FrameReader::next(pvlr_frame* frame) {
  if (done_ || file_.peek() == std::ifstream::traits_type::eof()) return false;
  const RawLayout layout = raw_ ? *raw_ : read_header();
  done_ = !raw_;  // an image is one frame
  if (layout.width > kMaxSide || layout.height > kMaxSide) throw std::runtime_error("more than 16384 pixels a side");
  *frame = pvlr::make<pvlr_frame>();
  frame->format = layout.format;
  frame->matrix = layout.matrix;
  frame->range = layout.range;
  frame->width = layout.width;
  frame->height = layout.height;
  const std::vector<Plane> planes = planes_of(layout);
  std::int64_t bytes = 0;
  for (const Plane& plane : planes) bytes += plane.pitch * plane.rows;
  pixels_.resize(static_cast<std::size_t>(bytes));
  if (!file_.read(pixels_.data(), bytes)) throw std::runtime_error("the file ends within a frame");
  const char* at = pixels_.data();
  for (std::size_t i = 0; i < planes.size(); ++i) {
    frame->planes[i] = at;
    frame->pitches[i] = planes[i].pitch;
    at += planes[i].pitch * planes[i].rows;
  }
  return true;
}

// "P6" (RGB) or "P5" (grey), then width, height and the largest value in decimal, and one white space.
RawLayout FrameReader::read_header() {
  char magic[2] = {};
  file_.read(magic, sizeof magic);
  const bool is_pnm = file_ && magic[0] == 'P' && (magic[1] == '6' || magic[1] == '5');
  if (!is_pnm) throw std::runtime_error("not a binary PPM or PGM; give the --size of raw frames");
  RawLayout layout{0, 0, magic[1] == '6' ? PVLR_FORMAT_RGB : PVLR_FORMAT_GRAY, PVLR_MATRIX_BT601, PVLR_RANGE_LIMITED};
  layout.width = read_number();
  layout.height = read_number();
  const std::int32_t largest = read_number();
  if (layout.width < 1 || layout.height < 1 || largest != 255)
    throw std::runtime_error("values beyond 255, or no pixels");
  file_.get();
  return layout;
}

// Skips white space and comments, which reach to the end of the line.
std::int32_t FrameReader::read_number() {
  while ((file_ >> std::ws).peek() == '#') file_.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  std::int32_t number = 0;
  if (!(file_ >> number)) throw std::runtime_error("a damaged header");
  return number;
}

}  // namespace program
