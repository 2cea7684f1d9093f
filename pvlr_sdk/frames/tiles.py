"""Tiles: rectangles of a frame that are tagged at the network's full resolution, so that small objects are found."""

from __future__ import annotations

import itertools
import re
from typing import Any, TypeAlias

from .. import errors
from .frames import Region

Layout: TypeAlias = tuple[int, int]
"""Columns and rows of tiles."""
Tiles: TypeAlias = Layout | str
"""A layout, also as a text such as ``3x2``, or ``auto``: by the size of the frame, see :func:`layout_of`. (1, 1): the
whole frame only."""
MAX_TILES = 16
"""Tiles of a frame, and of all regions of a camera: the time per frame is in proportion to them."""


def check_tiles(tiles: Any) -> Tiles | None:
    """Return ``tiles``: a list, or a text such as ``3x2``, as a tuple. Raises OptionError if they are not
    :data:`Tiles` or None."""
    if tiles is None:
        return None
    if isinstance(tiles, str) and tiles == "auto":
        return "auto"
    match = re.fullmatch("([0-9]{1,4})x([0-9]{1,4})", tiles) if isinstance(tiles, str) else None
    layout = tuple(map(int, match.groups())) if match else tiles
    if (
        isinstance(layout, (tuple, list))
        and len(layout) == 2
        and all(type(count) is int for count in layout)
    ):
        columns, rows = layout
        if columns >= 1 and rows >= 1 and columns * rows <= MAX_TILES:
            return columns, rows
    raise errors.OptionError(
        "tiles",
        f"(columns, rows) with at most {MAX_TILES} tiles, or 'auto'",
        f"{tiles!r:.60}",
        "For example tiles=(2, 2) or 2x2.",
    )


def layout_name(layout: Layout) -> str:
    """``3x2`` of (3, 2): as :func:`check_tiles` reads it."""
    return "{}x{}".format(*layout)


def layout_of(
    tiles: Tiles | None,
    height: int,
    width: int,
    input_size: tuple[int, int],
    most: int = MAX_TILES,
) -> Layout | None:
    """The layout for a frame; None: only the whole frame.

    ``auto``: a tile for every one and a half times the network's input along each side, rounded; where these would be
    more than ``most``, for every two times, and so on.

    Args:
        tiles: as :func:`check_tiles` returns them.
        height, width: of the frame, in pixels.
        input_size: height and width of the network's input.
        most: the most tiles that ``auto`` gives.
    """
    if isinstance(tiles, str):  # auto; halves: of the network's input
        sides = (width, input_size[1]), (height, input_size[0])
        layouts = (
            [
                max(1, (2 * side + halves * tile_side // 2) // (halves * tile_side))
                for side, tile_side in sides
            ]
            for halves in itertools.count(3)
        )
        tiles = next((columns, rows) for columns, rows in layouts if columns * rows <= most)
    return None if tiles is None or tiles == (1, 1) else tiles


def rectangles(layout: Layout, height: int, width: int, source: str = "frame") -> list[Region]:
    """The whole frame, then its tiles row by row. They begin at even pixels, for YUV, and do not overlap.

    ``source``: the frame's name in errors.

    Raises:
        ImageSizeError: the frame has fewer than two pixels per tile along a side with several tiles.
    """
    columns, rows = layout
    sides = (columns, width), (rows, height)
    if any(count > 1 and side < 2 * count for count, side in sides):
        raise errors.ImageSizeError(
            source,
            f"at least {2 * columns} x {2 * rows} pixels for {columns} x {rows} tiles",
            f"{width} x {height}",
            "Use fewer tiles, or none.",
        )
    lefts, tops = (
        [*(number * (side // 2) // count * 2 for number in range(count)), side]
        for count, side in sides
    )
    tiles = [
        (left, top, right - left, bottom - top)
        for top, bottom in itertools.pairwise(tops)
        for left, right in itertools.pairwise(lefts)
    ]
    return [(0, 0, width, height), *tiles]
