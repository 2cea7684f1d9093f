// The rows of a frame as packed pixels, whatever the frame's layout.
#pragma once

#include <cstdint>
#include <vector>

#include "pvlr/preprocess.h"

namespace pvlr {

// Hands out windows of consecutive packed rows. Rows that are already packed are used in place; others are
// converted once into a ring of scratch rows.
class RowWindow {
 public:
  // max_rows: the tallest window that at() will return.
  void prepare(const PreprocessParams& params, std::int64_t max_rows);

  // Pointers to rows first..first+count-1. `first` must not decrease between two calls.
  const std::uint8_t* const* at(std::int64_t first, std::int64_t count);

  // Bytes per packed pixel: 1, 3 or 4, the last of which is ignored.
  std::int64_t channels() const { return channels_; }
  // Readable bytes of a row, without the fourth byte of the last pixel, which may lie outside the frame.
  std::int64_t row_bytes() const { return params_.src_width * channels_ - (channels_ == 4 ? 1 : 0); }
  // Whether packed pixels start with blue.
  bool blue_first() const { return blue_first_; }

 private:
  void convert(std::int64_t y, std::uint8_t* packed);
  void convert_yuv(std::int64_t y, std::uint8_t* packed);

  PreprocessParams params_{};
  bool in_place_ = false;
  bool blue_first_ = false;
  std::int64_t channels_ = 0;
  std::int64_t ring_rows_ = 0;
  std::int64_t ring_stride_ = 0;
  std::int64_t next_row_ = 0;  // the first row not yet converted
  std::vector<std::uint8_t> ring_;
  std::int64_t skipped_ = 0;       // pixels that a packed row has before the first
  std::vector<std::uint8_t> yuv_;  // one packed row of luma, one of pairs of chroma
  std::vector<const std::uint8_t*> pointers_;
};

}  // namespace pvlr
