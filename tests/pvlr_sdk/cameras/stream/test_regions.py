"""Polygons of a camera: which are none, what a network gets of them, and the results of a stream."""

from __future__ import annotations

import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Camera, Stream, Tagger, errors
from pvlr_sdk.cameras.sources import CapturedFrame
from pvlr_sdk.cameras.stream import Region
from pvlr_sdk.cameras.stream.regions import Polygon
from pvlr_sdk.frames.tiles import MAX_TILES
from tests.pvlr_sdk.cameras.stream.seen import observations

LEFT: Polygon = ((0, 0), (0.5, 0), (0.5, 1), (0, 1))
LOWER: Polygon = ((0, 0.5), (1, 0.5), (1, 1))
SMALL = "size=160x120"


def frame(pixels: Any, order: Any = "bgr") -> CapturedFrame:
    return CapturedFrame(pixels, order, 0.0, 0.0, None, 0)


def star(corners: int, radius: float = 0.45) -> Any:
    angles = 2 * np.pi * np.arange(corners) / corners
    return tuple(
        (0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)) for angle in angles.tolist()
    )


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        (
            ((0, 0), (1, 1), (1, 0), (0, 1)),
            r"not cross itself, as sides 1 and 3 do, got \(\(0, 0\), \(1, 1\)",
        ),
        (
            tuple(star(5)[2 * n % 5] for n in range(5)),
            "expected a polygon that does not cross itself",
        ),
        (
            ((0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)),
            "that does not cross itself, as sides 1 and 3 do",
        ),
        (((0, 1), (0.5, 0), (1, 1), (1, 0), (0, 0)), "that does not cross itself, as sides"),
        (((0, 0), (1, 0), (0.5, 0), (0.5, 1)), "that does not cross itself"),  # a spike
        (((0, 0), (0, 0), (1, 1)), "that does not cross itself, as sides 1 and 2 do"),
        (((0, 0), (0.5, 0.5), (1, 1)), "expected a polygon with an area, got corners on a line"),
        (((0, 0), (1.1, 0), (1, 1)), r"from 0 to 1, got \(1.1, 0\)"),
        (((0, 0), (1, -0.01), (1, 1)), r"got \(1, -0.01\)"),
        (((0, 0), (1, float("nan")), (1, 1)), r"got \(1, nan\)"),
        (((0, 0), (1, "1"), (1, 1)), r"got \(1, '1'\)"),
        (((0, 0), (1, 10**400), (1, 1)), r"got \(1, 1000"),
        (((0, 0), (1, True), (1, 1)), r"got \(1, True\)"),
        (((0, 0), (1, 1)), "expected 3 to 64 corners .*, got 2 corners"),
        (star(65), "got 65 corners"),
        (((0, 0, 0), (1, 1), (1, 0)), "expected 3 to 64 corners"),
        ("square", "got 'square'"),
        (None, "got None"),
    ],
)
def test_what_is_no_polygon(polygon: Any, message: str) -> None:
    with pytest.raises(errors.OptionError, match=f"polygon: .*{message}"):
        Region(polygon)


@pytest.mark.parametrize(
    "polygon",
    [LEFT, LOWER, star(64), LEFT[::-1],
     ((0, 0), (0.3, 0), (0.3, 0.5), (0.6, 0.5), (0.6, 0), (1, 0), (1, 1), (0, 1))],  # two sides on one line
)  # fmt: skip
def test_what_is_one(polygon: Any) -> None:
    lists: Any = [list(corner) for corner in polygon]
    assert Region(polygon).polygon == Region(lists).polygon == polygon


def cut(camera: Camera, pixels: Any, order: Any = "bgr") -> Any:
    return camera.parts[0].cut(frame(pixels, order))


def test_a_polygon_that_is_a_rectangle_is_a_view() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    part = cut(Camera("a", "test://", regions={"left": Region(LEFT)}), pixels)
    assert part.base is pixels
    np.testing.assert_array_equal(part, cut(Camera("a", "test://", region=(0, 0, 0.5, 1)), pixels))


def test_pixels_outside_are_masked() -> None:
    pixels = np.random.default_rng(0).integers(115, 256, (120, 160, 3), np.uint8)
    before = pixels.copy()
    part = cut(Camera("a", "test://", regions={"lower": Region(LOWER)}), pixels)
    rows, columns = np.indices((60, 160))
    inside = rows < columns * 60 / 160
    border = np.abs(rows - columns * 60 / 160) < 1.5
    assert (part[inside & ~border] == pixels[60:][inside & ~border]).all()
    assert (part[~inside & ~border] == 114).all()
    np.testing.assert_array_equal(pixels, before)


def test_excluded_regions_are_masked_everywhere() -> None:
    pixels = np.full((120, 160), 200, np.uint8)
    hole = Region(((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)), exclude=True)
    whole = cut(Camera("a", "test://", regions={"hole": hole}), pixels, "gray")
    assert whole.shape == (120, 160)
    assert (whole == 114).sum() == pytest.approx(120 * 160 / 4, rel=0.05)
    left = cut(Camera("a", "test://", regions={"hole": hole, "left": Region(LEFT)}), pixels, "gray")
    assert (left == 114).sum() == pytest.approx(120 * 80 / 4, rel=0.05)
    lower = cut(
        Camera("a", "test://", region=(0, 0.5, 1, 0.5), regions={"hole": hole}), pixels, "gray"
    )
    assert (lower == 114).sum() == pytest.approx(60 * 160 / 4, rel=0.05)


def test_a_camera_whose_frames_change_their_size_costs_no_memory() -> None:
    """A hostile camera may send each frame in another size."""
    camera, pixels = (
        Camera("a", "test://", regions={"lower": Region(LOWER)}),
        np.zeros((2000, 1000), np.uint8),
    )
    tracemalloc.start()
    for height in range(1000, 1100):
        cut(camera, pixels[:height], "gray")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2**20


@pytest.mark.parametrize("order", ["nv12", "nv12-bt709-full"])
def test_nv12_is_masked_without_colour(order: str) -> None:
    nv12 = np.full((180, 160), 200, np.uint8)
    part = cut(Camera("a", "test://", regions={"lower": Region(LOWER)}), nv12, order)
    assert part.shape == (90, 160)
    bgr = cv2.cvtColor(part, cv2.COLOR_YUV2BGR_NV12)
    colours = bgr.max(2).astype(int) - bgr.min(2)
    rows, columns = np.indices((60, 160))
    assert (colours[rows > columns * 60 / 160 + 3] == 0).all()
    assert (colours[rows < columns * 60 / 160 - 3] > 50).all()


def test_a_region_of_a_few_pixels_has_no_tiles(tagger: Tagger) -> None:
    """It would otherwise fail all frames of the camera."""
    regions = {"left": Region(LEFT), "spot": Region(((0, 0), (0.02, 0), (0, 0.02)))}
    camera = Camera("a", f"test://?{SMALL}&fps=50&frames=1", regions=regions, tiles=(4, 2))
    with Stream(tagger, [camera]) as stream:
        (one,) = observations(stream)
    assert {name: len(found.tiles) for name, found in one.regions.items()} == {
        "left": 9,
        "spot": 0,
    }


def test_each_region_has_its_own_result_and_the_frame_has_the_union(tagger: Tagger) -> None:
    regions = {
        "left": Region(LEFT),
        "lower": Region(LOWER),
        "hole": Region(((0, 0), (0.1, 0), (0, 0.1)), True),
    }
    camera = Camera("a", f"test://?{SMALL}&fps=50&frames=3", regions=regions, tiles=(1, 2))
    with Stream(tagger, [camera, Camera("b", f"test://?{SMALL}&fps=50&frames=2")]) as stream:
        seen = observations(stream)
    one = next(one for one in seen if one.camera == "a")
    assert list(one.regions) == ["left", "lower"]
    for part in camera.parts:
        pixels = part.cut(one.frame)
        np.testing.assert_array_equal(
            one.regions[part.name].logits, tagger.predict(pixels, tiles=(1, 2)).logits
        )
    np.testing.assert_array_equal(
        one.result.logits, np.maximum(*(found.logits for found in one.regions.values()))
    )
    assert [tile.region for tile in one.result.tiles] == [(0, 0, 80, 120), (0, 60, 160, 60)]
    assert one.result.frame_size == (120, 160)
    for size in ("frame", "grid"):
        heat = one.result.attention(tagger.labels[0], size)
        assert np.isfinite(heat).all()
        assert heat.any()
    assert one.result.attention(tagger.labels[0])[:55, 85:].max() == 0  # in no region
    assert one.result.draw().shape[1] % 160 == 0
    plain = next(one for one in seen if one.camera == "b")
    assert plain.regions == {None: plain.result}


def test_regions_share_the_tiles_of_a_large_frame(tagger: Tagger) -> None:
    camera = Camera(
        "a",
        "test://?size=2000x1600&fps=50&frames=1",
        regions={"left": Region(LEFT), "lower": Region(LOWER), "hole": Region(LEFT, True)},
        tiles="auto",
    )
    with Stream(tagger, [camera]) as stream:
        (one,) = observations(stream)
        assert stream.stats()["a"].computed == sum(len(r.tiles) for r in one.regions.values())
    assert all(5 <= len(found.tiles) <= 1 + MAX_TILES // 2 for found in one.regions.values())


@pytest.mark.parametrize(("count", "tiles"), [(17, None), (17, "auto"), (3, (3, 2)), (2, "3x3")])
def test_too_many_parts(count: int, tiles: Any) -> None:
    regions = {f"r{number}": Region(LEFT) for number in range(count)}
    excluded = {f"e{number}": Region(LOWER, True) for number in range(50)}
    each = 6 if count == 3 else 9 if count == 2 else 1
    message = rf"at most 16 parts .*, got {count * each} parts = {count} regions x {each} tiles"
    with pytest.raises(errors.OptionError, match=message):
        Camera("a", "test://", regions=regions | excluded, tiles=tiles)
    fewer = dict(list(regions.items())[: MAX_TILES // each])
    Camera("a", "test://", regions=fewer | excluded, tiles=tiles)


def test_sixteen_regions(tagger: Tagger) -> None:
    regions = {
        f"r{row}{column}": Region(
            (
                (column / 4, row / 4),
                ((column + 1) / 4, row / 4),
                ((column + 1) / 4, (row + 1) / 4),
            )
        )
        for row in range(4)
        for column in range(4)
    }
    camera = Camera("a", f"test://?{SMALL}&fps=50&frames=1", regions=regions)
    with Stream(tagger, [camera]) as stream:
        (seen,) = observations(stream)
    assert list(seen.regions) == list(regions)
    assert seen.result.timing["total"] > max(one.timing["total"] for one in seen.regions.values())
