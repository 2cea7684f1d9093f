"""The geometry of tiles: they cover the frame, once, and a frame gets as many as it is large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.frames.tiles import MAX_TILES, check_tiles, layout_name, layout_of, rectangles

LAYOUTS = [
    (columns, rows)
    for columns in range(1, 17)
    for rows in range(1, 17)
    if columns * rows <= MAX_TILES
]


@given(st.sampled_from(LAYOUTS), st.integers(0, 90), st.integers(0, 90))
def test_tiles_cover_each_pixel_once_and_begin_at_even_ones(
    layout: tuple[int, int], more: int, wider: int
) -> None:
    columns, rows = layout
    height, width = 2 * rows + more, 2 * columns + wider
    whole, *tiles = rectangles(layout, height, width)
    assert whole == (0, 0, width, height)
    assert len(tiles) == columns * rows
    covered = np.zeros((height, width), int)
    for left, top, across, down in tiles:
        assert left % 2 == top % 2 == 0
        assert min(across, down) >= 2
        covered[top : top + down, left : left + across] += 1
    assert (covered == 1).all()
    assert tiles == sorted(tiles, key=lambda tile: (tile[1], tile[0]))


@pytest.mark.parametrize(("height", "width"), [(3, 100), (100, 5), (1, 1)])
def test_a_frame_smaller_than_its_tiles(height: int, width: int) -> None:
    with pytest.raises(
        errors.ImageSizeError,
        match=rf"at least 6 x 4 pixels for 3 x 2 tiles, got {width} x {height}",
    ):
        rectangles((3, 2), height, width)


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1, 1), (720, 1280)])
def test_auto_fits_each_frame(height: int, width: int) -> None:
    layout = layout_of("auto", height, width, (288, 288)) or (1, 1)
    assert len(rectangles(layout, height, width)) == 1 + layout[0] * layout[1]


@pytest.mark.parametrize(
    ("width", "height", "side", "layout"),
    [
        (1280, 720, 288, (3, 2)),
        (640, 480, 288, None),
        (480, 640, 288, None),
        (1920, 1080, 288, (4, 3)),
        (720, 1280, 288, (2, 3)),
        (1280, 720, 448, (2, 1)),
        (3840, 2160, 288, (5, 3)),
        (2**20, 2**20, 224, (4, 4)),
        (2**20, 1, 8, (16, 1)),
        (1, 1, 8192, None),
    ],
)
def test_auto_is_by_the_size_of_the_frame(width: int, height: int, side: int, layout: Any) -> None:
    assert layout_of("auto", height, width, (side, side)) == layout


def test_auto_gives_fewer_where_they_are_shared() -> None:
    assert layout_of("auto", 1080, 1920, (288, 288), 6) == (3, 2)
    assert layout_of("auto", 1080, 1920, (288, 288), 1) is None


def test_a_layout_is_as_given_and_one_tile_is_the_whole_frame() -> None:
    assert layout_of((3, 2), 8, 8, (288, 288)) == (3, 2)
    assert layout_of((1, 1), 8, 8, (288, 288)) is None
    assert layout_of(None, 5000, 5000, (288, 288)) is None


@pytest.mark.parametrize(
    "tiles",
    [
        (0, 1),
        (1, 0),
        (-2, 2),
        (100, 100),
        (17, 1),
        (4, 5),
        (2,),
        (2, 2, 2),
        (2.0, 2),
        (True, 2),
        4,
        {},
    ],
)
def test_other_tiles_are_an_error(tiles: Any) -> None:
    with pytest.raises(
        errors.OptionError,
        match=r"tiles: expected \(columns, rows\) with at most 16 tiles, or 'auto'",
    ):
        check_tiles(tiles)


def test_tiles_as_text() -> None:
    assert [check_tiles(text) for text in (None, "auto", "3x2", "1x16")] == [
        None,
        "auto",
        (3, 2),
        (1, 16),
    ]
    assert check_tiles(layout_name((3, 2))) == (3, 2)
    assert check_tiles([3, 2]) == (3, 2)
    for text in (
        "",
        "3",
        "3x",
        "x2",
        "3X2",
        "0x1",
        "100x100",
        "-1x2",
        "3x2x1",
        " 3x2",
        "9" * 5000 + "x1",
    ):
        with pytest.raises(errors.OptionError, match="tiles"):
            check_tiles(text)
