"""Named regions of a camera: polygons, of which a network gets the bounding rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...frames import frames
from ...result import FrameReference, TagResult, Tile
from ..sources import CapturedFrame
from .schedule import Schedule

Rectangle: TypeAlias = tuple[float, float, float, float]
"""Left, top, width and height as fractions of the frame."""
Polygon: TypeAlias = tuple[tuple[float, float], ...]
"""At least three corners (x, y), as fractions of the frame."""
MAX_CORNERS = 64
_GRAY = 114
_NO_COLOR = 128
"""The value of masked pixels, near the mean of photos, and of their chroma."""


@dataclass(frozen=True)
class Region:
    """A part of a camera's frames with tags and events of its own.

    Args:
        polygon: its corners (x, y) as fractions of the frame. Its bounding rectangle is tagged; pixels of the rectangle
            outside the polygon are masked.
        exclude: mask the polygon in all that the camera tags, instead of tagging it.
        schedule: when it is tagged; None: as the camera.

    Raises:
        OptionError: the polygon leaves the frame, crosses or touches itself, or is no polygon.
    """

    polygon: Polygon
    exclude: bool = False
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "polygon", check_polygon(self.polygon))


class Part(NamedTuple):
    """What is tagged of a camera's frames: a region, or the camera's rectangle (``name`` is None)."""

    name: str | None
    rectangle: Rectangle
    polygon: Polygon | None
    excluded: tuple[Polygon, ...]
    schedule: Schedule | None

    def on(self, wall: float) -> bool:
        """Whether it is tagged at this time, in seconds since the epoch."""
        return self.schedule is None or self.schedule.contains(wall)

    def box(self, frame: CapturedFrame) -> frames.Region:
        """Its rectangle in pixels: at least one along each side, for nv12 two, which share their chroma."""
        (height, width), step = frame.size, 2 if frame.order.startswith("nv12") else 1
        left, right = _span(self.rectangle[0], self.rectangle[2], width, step)
        top, bottom = _span(self.rectangle[1], self.rectangle[3], height, step)
        return left, top, right - left, bottom - top

    def cut(self, frame: CapturedFrame) -> NDArray[np.uint8]:
        """Its pixels, in the frame's own order: a view, except where some are masked, and for a part of nv12."""
        box = self.box(frame)
        nv12 = frame.order.startswith("nv12")
        pixels = frame.pixels
        left, top, width, height = box
        if (height, width) != frame.size:
            pixels = frame.pixels[top : top + height, left : left + width]
            if nv12:
                chroma = frame.size[0] + top // 2
                pixels = np.concatenate(
                    [pixels, frame.pixels[chroma : chroma + height // 2, left : left + width]]
                )
        mask = _mask(self.polygon, self.excluded, box, frame.size, nv12)
        if mask is None:
            return pixels
        masked = np.full(pixels.shape, _GRAY, np.uint8)
        if nv12:
            masked[height:] = _NO_COLOR
        cv2.copyTo(pixels, mask, masked)
        return masked


def united(frame: CapturedFrame, results: Sequence[tuple[Part, TagResult]]) -> TagResult:
    """The result of a frame from those of its regions."""
    tiles = tuple(Tile(part.box(frame), result) for part, result in results)
    whole = TagResult.united(tiles, FrameReference.of(frame.pixels, frame.color), frame.size)
    whole.timing = {
        stage: sum(result.timing[stage] for _, result in results) for stage in results[0][1].timing
    }
    return whole


def check_polygon(raw: Any) -> Polygon:
    """The polygon of tuples or lists. Raises OptionError if it is none, or its sides meet other than at its corners."""
    expected = f"3 to {MAX_CORNERS} corners (x, y) as fractions of the frame, from 0 to 1"
    got = ""
    hint = "For example [[0, 0.5], [1, 0.5], [1, 1]]: corners in their order along the edge."
    lists = isinstance(raw, (tuple, list)) and all(
        isinstance(corner, (tuple, list)) and len(corner) == 2 for corner in raw
    )
    polygon: Polygon = tuple((corner[0], corner[1]) for corner in raw) if lists else ()
    if not 3 <= len(polygon) <= MAX_CORNERS:
        got = f"{len(polygon)} corners" if lists else f"{raw!r:.60}"
    elif outside := [corner for corner in polygon if not all(map(is_fraction, corner))]:
        got = f"{outside[0]!r:.60}"
    elif crossing := _crossing(polygon):
        expected = "a polygon that does not cross itself, as sides {} and {} do".format(*crossing)
        got = f"{raw!r:.60}"
    elif cv2.contourArea(np.array(polygon, np.float32)) < 1e-6:
        expected = "a polygon with an area"
        got = "corners on a line"
    if got:
        raise errors.OptionError("polygon", expected, got, hint)
    return polygon


def is_fraction(value: Any) -> bool:
    """Whether this is a number from 0 to 1."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _crossing(polygon: Polygon) -> tuple[int, int] | None:
    """Two sides, counted from 1, that meet other than at the corner between them."""
    corners = [complex(*corner) for corner in polygon]
    sides = list(enumerate(pairwise([*corners, corners[0]]), 1))
    for (i, (a, b)), (j, (c, d)) in combinations(sides, 2):
        neighbours = j - i in (1, len(sides) - 1)
        if a == b or c == d or (not neighbours and _meet(a, b, c, d)):
            return i, j
    return None


def _meet(a: complex, b: complex, c: complex, d: complex) -> bool:
    """Whether the segments from a to b and from c to d have a common point: neither is on one side of the other."""
    for p, q, r, s in ((z.real for z in (a, b, c, d)), (z.imag for z in (a, b, c, d))):
        if max(p, q) < min(r, s) or max(r, s) < min(p, q):
            return False
    pairs = (((b - a), (c - a), (d - a)), ((d - c), (a - c), (b - c)))
    return all(
        (way.conjugate() * side).imag * (way.conjugate() * other).imag <= 0
        for way, side, other in pairs
    )


def bounds_of(polygon: Polygon) -> Rectangle:
    """The bounding rectangle of a polygon."""
    (left, right), (top, bottom) = (
        (min(values), max(values)) for values in zip(*polygon, strict=True)
    )
    return left, top, right - left, bottom - top


def _span(start: float, extent: float, length: int, step: int) -> tuple[int, int]:
    """The first pixel and the one after the last, both multiples of ``step``, within ``length``."""
    cells = length // step
    first = min(int(start * cells + 0.5), cells - 1)
    return first * step, max(first + 1, min(int((start + extent) * cells + 0.5), cells)) * step


def _mask(
    polygon: Polygon | None,
    excluded: tuple[Polygon, ...],
    box: frames.Region,
    size: tuple[int, int],
    nv12: bool,
) -> NDArray[np.uint8] | None:
    """255 for each pixel of a box that is kept, otherwise 0; None: all are kept. ``size``: of the frame."""
    if polygon is None and not excluded:
        return None
    left, top, width, height = box
    mask = np.full((height, width), 0 if polygon else 255, np.uint8)
    for corners, value in (
        *(((polygon, 255),) if polygon else ()),
        *((polygon_out, 0) for polygon_out in excluded),
    ):
        points = (np.array(corners) * (size[1], size[0]) + 0.5).astype(np.int32) - (left, top)
        cv2.fillPoly(mask, [points.astype(np.int32)], value)
    if mask.all():
        return None
    return np.concatenate([mask, mask[::2, ::2].repeat(2, axis=1)]) if nv12 else mask
