"""The tiles of cameras with ``auto``: the finest ones that the machine computes at the cameras' rates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from ...frames.tiles import MAX_TILES, Layout, layout_of
from .camera import Camera
from .stats import CameraStats

_log = logging.getLogger(__name__)

RATE = 5.0
"""Frames per second that tiles leave to a camera at least: events average over half a second."""
FINEST, COARSE, NONE = range(3)
"""Levels of tiles: by the size of the frame, but at least 2 x 2; 2 x 2; only the whole frame."""
_NAMES = ("by the size of the frame", "2x2", "none")
_WHOLE = (1, 1)
_FOUR = (2, 2)
_FIRST = 1.0
_PERIOD = 10.0
"""Seconds from the start to the first choice, and from one choice to the next."""
_LOW = 0.5
_HIGH = 0.9
"""Finer tiles are used if they take at most this share of the engine's time, coarser ones if these take more than that.
The gap keeps a load near one limit from changing the tiles again and again."""


class Demand(NamedTuple):
    """What a camera asks of the engine.

    Attributes:
        rate: frames per second that it delivers.
        inferences: of a frame that has changed everywhere, by level.
        share: which share of these is computed, from 0 to 1: the rest keeps its scores.
    """

    rate: float
    inferences: tuple[int, ...]
    share: float


class TileChoice:
    """The level of the tiles of all cameras with ``auto``. For one thread."""

    def __init__(self) -> None:
        self.level = COARSE
        self._next: float | None = None

    def due(self, now: float) -> bool:
        """Whether it is time for :meth:`choose`; ``now`` is ``time.monotonic()``."""
        if self._next is None:
            self._next = now + _FIRST
        return now >= self._next

    def choose(self, now: float, demands: Sequence[Demand], seconds: float) -> None:
        """Choose again, and log what has changed; ``seconds`` are those of an inference."""
        self._next = now + _PERIOD
        loads = [seconds * load(demands, level) for level in range(len(_NAMES))]
        level = _next_level(loads, self.level)
        if level != self.level:
            _log.info(
                "tiles of cameras: %s, %.0f %% of the engine's time (%.1f ms per inference)",
                _NAMES[level],
                100 * loads[level],
                1e3 * seconds,
            )
        self.level = level


def load(demands: Sequence[Demand], level: int) -> float:
    """The inferences per second with which each camera has its own rate, but at most :data:`RATE`."""
    return sum(
        min(demand.rate, RATE) * demand.inferences[level] * demand.share for demand in demands
    )


def _next_level(loads: Sequence[float], level: int) -> int:
    finer = [other for other in range(level) if loads[other] <= _LOW]
    if finer:
        return finer[0]
    while level < NONE and loads[level] > _HIGH:
        level += 1
    return level


def demand_of(
    camera: Camera, now: CameraStats, before: CameraStats | None, input_size: tuple[int, int]
) -> Demand:
    """What a camera asks of the engine, by its statistics now and at an earlier time."""
    if now.size is None or now.state != "live":
        return Demand(0.0, (0,) * len(_NAMES), 0.0)
    height, width = now.size
    inferences = [0] * len(_NAMES)
    for part in camera.parts:
        _, _, part_width, part_height = part.rectangle
        by_level = layouts(
            camera, round(part_height * height), round(part_width * width), input_size
        )
        for level, (columns, rows) in enumerate(by_level):
            inferences[level] += 1 if (columns, rows) == _WHOLE else 1 + columns * rows
    tiles = now.tiles - (before.tiles if before else 0)
    computed = now.computed - (before.computed if before else 0)
    return Demand(now.fps or RATE, tuple(inferences), computed / tiles if tiles else 1.0)


def layouts(
    camera: Camera, height: int, width: int, input_size: tuple[int, int]
) -> tuple[Layout, ...]:
    """The tiles of a part of a camera's frame, by level; the same in each unless they are ``auto``.

    With ``auto``, a part that is smaller than the network's input has none, since they would show no more than it does.

    Args:
        height, width: of the part, in pixels.
        input_size: height and width of the network's input.
    """
    most = MAX_TILES // len(camera.parts)
    # A region of a few pixels has no tiles: they would be an error in each frame of the camera.
    if camera.tiles is None or min(height, width) < 2 * MAX_TILES:
        return (_WHOLE,) * len(_NAMES)
    if camera.tiles != "auto":
        fixed = layout_of(camera.tiles, height, width, input_size) or _WHOLE
        return (fixed,) * len(_NAMES)
    if most < 4 or height < input_size[0] or width < input_size[1]:
        return (_WHOLE,) * len(_NAMES)
    by_size = layout_of("auto", height, width, input_size, most) or _WHOLE
    finest = by_size if by_size[0] * by_size[1] > 4 else _FOUR
    return finest, _FOUR, _WHOLE
