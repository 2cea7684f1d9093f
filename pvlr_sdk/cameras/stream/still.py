"""Still scenes: which rectangles of a camera's frames have changed, and the results that still hold for the others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...frames.frames import Color, Region
from ...frames.tiles import MAX_TILES
from ...frames.yuv import is_yuv
from ...result import TagResult
from ..sources import CapturedFrame
from .camera import Camera
from .regions import Part

if TYPE_CHECKING:
    from ...tagger import Tagger

Cells = NDArray[np.float32]
"""(rectangles, rows, columns, channels): a thumbnail of each rectangle, in gray levels."""
CELLS = 24
"""Rows and columns of a thumbnail: for a network with 288 pixels, each cell is 12 x 12 of these."""
_NOISE, _LEAST, _MOST = 8.0, 5.0, 10.0
"""A cell has changed if it differs by ``_NOISE`` times the median difference of consecutive frames, and ``_LEAST`` gray
levels: key frames of a codec differ by 4. ``_MOST`` is always a change: a median over what moves is not noise."""
_LIGHT = 1.25
"""A light that is brighter or darker by this factor is a change."""
_SETTLE = 1.0
"""Seconds for which a rectangle is computed after a change: by chance, one frame's score may be below its threshold."""


@dataclass(frozen=True, eq=False)
class Look:
    """A frame after the comparison.

    Attributes:
        kept: the results that still hold, by rectangle (left, top, width and height in pixels).
        share: which share of the rectangles must be computed, from 0 to 1.
        lag: seconds since a change appeared that ``kept`` hides, since other rectangles must be computed first.
    """

    pixels: NDArray[np.uint8]
    color: Color
    now: float
    cells: Cells | None = None
    kept: dict[Region, TagResult] = field(default_factory=dict)
    share: float = 1.0
    lag: float = 0.0


class StillScene:
    """Compares the frames of a camera with those that its results are of; for one thread.

    A rectangle (the frame, or a tile) keeps its result for at most ``refresh`` seconds, and until a cell of its
    thumbnail differs from the computed one by more than noise, after both have the same mean. None: nothing is kept.
    """

    def __init__(self, refresh: float | None) -> None:
        self._refresh = refresh or 0.0
        self._of: tuple[object, ...] = ()  # shape and color of the frames compared
        self._results: dict[Region, TagResult] = {}
        self._computed = self._before = np.zeros((0, CELLS, CELLS, 1), np.float32)  # cells of the results, last cells
        self._noise = self._asked = self._since = np.zeros(0)  # gray levels; times of computation, of a hidden change
        self._changed = np.zeros(0)  # times of the last change

    def look(self, pixels: NDArray[np.uint8], color: Color, now: float, portion: float = 1.0) -> Look:
        """Compare a frame, with ``pixels`` and ``color`` as for ``Tagger.predict``, captured at ``now`` (seconds).

        There is time to compute this ``portion`` of its rectangles: those that were computed first, at least one.
        """
        if self._of != (pixels.shape, color):
            return Look(pixels, color, now)
        regions = list(self._results)
        cells = _cells(pixels, color, regions)
        self._noise = 0.8 * self._noise + 0.2 * np.median(_difference(cells, self._before)[0], axis=(1, 2, 3))
        self._before = cells
        difference, light = _difference(cells, self._computed)
        limit = np.clip(_NOISE * self._noise, _LEAST, _MOST)
        changed = (difference.max(axis=(1, 2, 3)) > limit) | (np.abs(np.log(light)) > np.log(_LIGHT))
        self._changed[changed] = now
        age = now - self._asked
        due = np.flatnonzero((now - self._changed < _SETTLE) | (age >= self._refresh) | (age < 0))
        due = due[np.argsort(self._asked[due], kind="stable")][: max(1, int(portion * len(regions)))]
        self._asked[due] = now
        changed[due] = False
        self._since = np.where(changed, np.minimum(self._since, now), np.inf)
        kept = {region: self._results[region] for row, region in enumerate(regions) if row not in due}
        lag = max(0.0, now - float(self._since.min()))
        return Look(pixels, color, now, cells, kept, len(due) / len(regions), lag)

    def learn(self, look: Look, result: TagResult) -> int:
        """Keep the results of a frame, in the order of the frames; returns how many rectangles were computed."""
        parts, own = dict(result.tiles) or {(0, 0, *result.frame_size[::-1]): result}, (result.plan, result.bank)
        kept = {region for region, one in look.kept.items() if (one.plan, one.bank) == own}
        rows = [row for row, region in enumerate(parts) if region not in kept]
        of = look.pixels.shape, look.color
        if look.cells is not None and of == self._of and list(parts) == list(self._results):
            self._results, self._computed[rows] = parts, look.cells[rows]
        elif self._refresh and not kept:
            self._of, self._results = of, parts
            self._before = _cells(look.pixels, look.color, list(parts))
            self._computed, self._noise = self._before.copy(), np.zeros(len(parts))
            self._asked, self._since = np.full(len(parts), look.now), np.full(len(parts), np.inf)
            self._changed = np.full(len(parts), -np.inf)
        return len(rows)


class PartInFlight(NamedTuple):
    """A part of a frame, and its future result."""

    part: Part
    scene: StillScene
    look: Look
    future: Future[TagResult]


def start_parts(
    tagger: Tagger, camera: Camera, scenes: dict[str | None, StillScene], frame: CapturedFrame, portion: float | None
) -> tuple[list[PartInFlight], float]:
    """Tag the parts of a camera's frame that are within their hours; returns also which share of them is computed.

    ``portion``: as for :meth:`StillScene.look`; None: a file that waits, whose results do not depend on the machine.
    """
    now, parts = frame.captured, []
    if portion is None and frame.source_time is not None:
        now = frame.source_time
    for part in (one for one in camera.parts if one.on(frame.wall)):
        scene = scenes.setdefault(part.name, StillScene(camera.refresh))
        look = scene.look(part.cut(frame), frame.color, now, 1.0 if portion is None else portion)
        # A region of a few pixels has no tiles: they would be an error in each frame of the camera.
        tiles = camera.tiles if min(part.box(frame)[2:]) >= 2 * MAX_TILES else None
        future = tagger.predict_async(look.pixels, color=frame.color, tiles=tiles, kept=look.kept)
        parts.append(PartInFlight(part, scene, look, future))
    return parts, sum(one.look.share for one in parts) / max(1, len(parts))


def _cells(pixels: NDArray[np.uint8], color: Color, regions: Sequence[Region]) -> Cells:
    """Means over the cells of each rectangle: of the luma, for YUV."""
    pixels, scale, thumbnails = pixels[: pixels.shape[0] * 2 // 3] if is_yuv(color) else pixels, 1, []
    while min(min(region[2:]) for region in regions) >= 4 * CELLS * scale:  # halves are much faster than other sizes
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        pixels = cv2.resize(pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        scale *= 2
    for left, top, width, height in regions:
        left, top, right, bottom = (n // scale for n in (left, top, left + width, top + height))
        part = pixels[top : max(top + 1, bottom), left : max(left + 1, right)]
        thumbnails.append(cv2.resize(part, (CELLS, CELLS), interpolation=cv2.INTER_AREA))
    return np.stack(thumbnails).reshape(len(regions), CELLS, CELLS, -1).astype(np.float32)


def _difference(cells: Cells, before: Cells) -> tuple[Cells, NDArray[np.float32]]:
    """The absolute difference of each cell after both have the same mean, and by which factor the mean changed."""
    light = (cells.mean(axis=(1, 2, 3)) + 1) / (before.mean(axis=(1, 2, 3)) + 1)
    return np.abs(cells - light[:, None, None, None] * before), light
