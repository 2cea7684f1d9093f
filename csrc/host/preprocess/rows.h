// The rows of a frame as packed pixels, whatever the frame's format.
#pragma once

#include <cstdint>
#include <vector>

#include "pvlr/preprocess.h"

namespace pvlr {

// Hands out windows of consecutive rows of a frame's crop. Rows of packed pixels are used in place; those of YUV frames
// are converted once into a ring of scratch rows.
class RowWindow {
 public:
  // max_rows: the tallest window that at() will return.
  void prepare(const BatchFrame& frame, std::int64_t max_rows);

  // Pointers to rows first..first+count-1. `first` must not decrease between two calls.
  const std::uint8_t* const* at(std::int64_t first, std::int64_t count);

  // Bytes per packed pixel: 1, 3 or 4, the last of which is ignored.
  std::int64_t channels() const { return channels_; }

 private:
  void convert(std::int64_t y, std::uint8_t* packed);

  BatchFrame frame_{};
  std::int64_t channels_ = 0;
  std::vector<const std::uint8_t*> pointers_;

  // Of YUV frames.
  std::int64_t skipped_ = 0;   // pixels that a packed row has before the first: 1 if the crop begins within a pair
  std::int64_t pairs_ = 0;     // of pixels in a packed row
  std::int64_t next_row_ = 0;  // the first row not yet converted
  std::vector<std::uint8_t> ring_;
  std::vector<std::uint8_t> scratch_;  // a row of luma, and one of pairs of chroma
};

}  // namespace pvlr
