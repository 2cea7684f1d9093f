// Tiles: rectangles of a frame that are tagged along with the whole. The counterpart of pvlr_sdk/frames/tiles.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "bundle/manifest.h"
#include "pvlr/preprocess.h"

namespace pvlr::runtime {

constexpr std::int32_t kMaxTiles = 16;

// Columns and rows; 1 x 1: only the whole frame, 0 x 0: by the size of the frame.
struct Layout {
  std::int32_t columns;
  std::int32_t rows;

  std::int32_t count() const { return columns * rows; }
};

// The whole frame, then its tiles row by row.
struct Rectangles {
  std::array<Rectangle, kMaxTiles + 1> items;
  std::size_t size;
};

// The layout for a frame of this size in pixels.
Layout layout_of(const Layout& tiles, std::int32_t width, std::int32_t height, const InputSpec& input);

// Throws Error if the frame has fewer than two pixels per tile along a side.
Rectangles rectangles(const Layout& layout, std::int32_t width, std::int32_t height);

}  // namespace pvlr::runtime
