"""Still scenes: which rectangles of a camera's frames have changed, and the results that still hold for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...frames.frames import Color, Region
from ...frames.yuv import is_yuv
from ...result import TagResult

Cells = NDArray[np.float32]
"""(rectangles, rows, columns, channels): a thumbnail of each rectangle, in gray levels."""
CELLS = 24
"""Rows and columns of a thumbnail: for a network with 288 pixels, each cell is 12 x 12 of these."""
_NOISE = 8.0
_LEAST = 5.0
MOST_NOISE = 10.0
"""A cell has changed if it differs by ``_NOISE`` times the median difference of consecutive frames, and ``_LEAST`` gray
levels: key frames of a codec differ by 4. ``MOST_NOISE`` is always a change: a median over what moves is not noise."""
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

    # A rectangle is computed again when its cells differ from those of its result by more than the noise of the
    # picture. The noise of each rectangle is measured: the running median of the difference of two consecutive
    # frames. The comparison is with the computed frame, not with the last one, so that slow changes add up; both are
    # brought to the same mean first, so that a cloud is no change, but a lamp is. After a change, a rectangle is
    # computed for another second, since one frame's score may be below its threshold by chance. Where there is no
    # time for all, those come first that were computed longest ago.

    def __init__(self, refresh: float | None) -> None:
        self._refresh = refresh or 0.0
        self._format: tuple[object, ...] = ()
        """Shape and colour of the frames that are compared."""
        self._results: dict[Region, TagResult] = {}
        """By rectangle (R of them, in this order), the result that may be kept."""
        self._computed_cells: Cells = np.zeros((0, CELLS, CELLS, 1), np.float32)
        """(R, ...): the thumbnails of the frames that the results are of."""
        self._last_cells: Cells = self._computed_cells
        """(R, ...): the thumbnails of the last frame."""
        self._noise: NDArray[np.float64] = np.zeros(0)
        """(R,): gray levels."""
        self._computed_at: NDArray[np.float64] = np.zeros(0)
        """(R,): when the result was asked for, in seconds."""
        self._hidden_since: NDArray[np.float64] = np.zeros(0)
        """(R,): since when a change waits to be computed; infinite: none does."""
        self._changed_at: NDArray[np.float64] = np.zeros(0)
        """(R,): when the rectangle changed last."""

    def look(
        self, pixels: NDArray[np.uint8], color: Color, now: float, portion: float = 1.0
    ) -> Look:
        """Compare a frame, with ``pixels`` and ``color`` as for ``Tagger.predict``, captured at ``now`` (seconds).

        There is time to compute this ``portion`` of its rectangles: those that were computed first, at least one.
        """
        if self._format != (pixels.shape, color):
            return Look(pixels, color, now)
        rectangles = list(self._results)
        cells = thumbnails(pixels, color, rectangles)
        flicker = np.median(_difference(cells, self._last_cells)[0], axis=(1, 2, 3))
        self._noise = 0.8 * self._noise + 0.2 * flicker
        self._last_cells = cells

        limit = np.clip(_NOISE * self._noise, _LEAST, MOST_NOISE)
        changed = changes(cells, self._computed_cells, limit)
        self._changed_at[changed] = now
        age = now - self._computed_at
        due = np.flatnonzero(
            (now - self._changed_at < _SETTLE) | (age >= self._refresh) | (age < 0)
        )
        oldest_first = np.argsort(self._computed_at[due], kind="stable")
        due = due[oldest_first][: max(1, int(portion * len(rectangles)))]
        self._computed_at[due] = now

        hidden = changed.copy()
        hidden[due] = False
        self._hidden_since = np.where(hidden, np.minimum(self._hidden_since, now), np.inf)
        kept = {
            rectangle: self._results[rectangle]
            for row, rectangle in enumerate(rectangles)
            if row not in due
        }
        lag = max(0.0, now - float(self._hidden_since.min()))
        return Look(pixels, color, now, cells, kept, len(due) / len(rectangles), lag)

    def learn(self, look: Look, result: TagResult) -> int:
        """Keep the results of a frame, in the order of the frames; returns how many rectangles were computed."""
        parts = dict(result.tiles) or {(0, 0, *result.frame_size[::-1]): result}
        version = (result.plan, result.bank)
        kept = {
            rectangle for rectangle, part in look.kept.items() if (part.plan, part.bank) == version
        }
        computed = [row for row, rectangle in enumerate(parts) if rectangle not in kept]
        frame_format = (look.pixels.shape, look.color)
        if (
            look.cells is not None
            and frame_format == self._format
            and list(parts) == list(self._results)
        ):
            self._results = parts
            self._computed_cells[computed] = look.cells[computed]
        elif self._refresh and not kept:
            self._begin(look, parts, frame_format)
        return len(computed)

    def _begin(
        self, look: Look, parts: dict[Region, TagResult], frame_format: tuple[object, ...]
    ) -> None:
        """Compare later frames with this one, all of which was computed."""
        self._format = frame_format
        self._results = parts
        self._last_cells = thumbnails(look.pixels, look.color, list(parts))
        self._computed_cells = self._last_cells.copy()
        self._noise = np.zeros(len(parts))
        self._computed_at = np.full(len(parts), look.now)
        self._hidden_since = np.full(len(parts), np.inf)
        self._changed_at = np.full(len(parts), -np.inf)


def thumbnails(pixels: NDArray[np.uint8], color: Color, regions: Sequence[Region]) -> Cells:
    """Means over the cells of each rectangle: of the luma, for YUV."""
    if is_yuv(color):
        pixels = pixels[: pixels.shape[0] * 2 // 3]
    scale = 1
    means = []
    # halves are much faster than other sizes
    while min(min(region[2:]) for region in regions) >= 4 * CELLS * scale:
        height = pixels.shape[0] // 2
        width = pixels.shape[1] // 2
        pixels = cv2.resize(
            pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA
        )
        scale *= 2
    for left, top, width, height in regions:
        left, top, right, bottom = (n // scale for n in (left, top, left + width, top + height))
        part = pixels[top : max(top + 1, bottom), left : max(left + 1, right)]
        means.append(cv2.resize(part, (CELLS, CELLS), interpolation=cv2.INTER_AREA))
    return np.stack(means).reshape(len(regions), CELLS, CELLS, -1).astype(np.float32)


def changes(cells: Cells, before: Cells, limit: ArrayLike) -> NDArray[np.bool_]:
    """(R,): which rectangles have changed: the light, or a cell by more than ``limit`` gray levels (R,)."""
    difference, light = _difference(cells, before)
    changed: NDArray[np.bool_] = (difference.max(axis=(1, 2, 3)) > limit) | (
        np.abs(np.log(light)) > np.log(_LIGHT)
    )
    return changed


def _difference(cells: Cells, before: Cells) -> tuple[Cells, NDArray[np.float32]]:
    """The absolute difference of each cell after both have the same mean, and by which factor the mean changed."""
    light = (cells.mean(axis=(1, 2, 3)) + 1) / (before.mean(axis=(1, 2, 3)) + 1)
    return np.abs(cells - light[:, None, None, None] * before), light
