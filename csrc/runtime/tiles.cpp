#include "tiles.h"

#include <algorithm>
#include <string>

#include "error.h"

namespace pvlr::runtime {

Layout layout_of(const Layout& tiles, std::int32_t width, std::int32_t height, const InputSpec& input) {
  if (tiles.columns != 0) return tiles;
  for (std::int32_t halves = 3;; ++halves) {  // of the network's input
    const auto fitting = [halves](std::int32_t side, std::int32_t given) {
      return std::max(1, (2 * side + halves * given / 2) / (halves * given));
    };
    const Layout layout{fitting(width, input.width), fitting(height, input.height)};
    if (layout.count() <= kMaxTiles) return layout;
  }
}

Rectangles rectangles(const Layout& layout, std::int32_t width, std::int32_t height) {
  Rectangles found{{Rectangle{0, 0, width, height}}, 1};
  if (layout.count() == 1) return found;
  const auto sides = [](std::int32_t x, std::int32_t y) { return std::to_string(x) + " x " + std::to_string(y); };
  const auto fits = [](std::int32_t count, std::int32_t side) { return count == 1 || side >= 2 * count; };
  if (!fits(layout.columns, width) || !fits(layout.rows, height)) {
    fail(PVLR_ERROR_INVALID_ARGUMENT, "frame",
         "at least " + sides(2 * layout.columns, 2 * layout.rows) + " pixels for its tiles", sides(width, height));
  }
  const auto begin = [](std::int32_t number, std::int32_t count, std::int32_t side) {
    return number == count ? side : number * (side / 2) / count * 2;
  };
  for (std::int32_t row = 0; row < layout.rows; ++row) {
    for (std::int32_t column = 0; column < layout.columns; ++column) {
      const std::int32_t left = begin(column, layout.columns, width);
      const std::int32_t top = begin(row, layout.rows, height);
      found.items[found.size++] = {left, top, begin(column + 1, layout.columns, width) - left,
                                   begin(row + 1, layout.rows, height) - top};
    }
  }
  return found;
}

}  // namespace pvlr::runtime
