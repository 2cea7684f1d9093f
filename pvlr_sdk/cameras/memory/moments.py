"""Moments worth keeping: the peak of each event, and a few frames of each camera by quota."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...frames.bgr import small_bgr
from ...result import TagResult
from ..events import EventDetector
from ..sources import CapturedFrame
from .recording import Context, Place

_SIDE = 320
"""The longest side of a picture in pixels."""
HEAT = 24, 24
"""Rows and columns of an attention map that is kept."""
Heat: TypeAlias = NDArray[np.uint8]
"""(24, 24), the attention map of a label over a picture, 255 at its maximum."""
_RISE = 0.01
"""A peak is kept again when it has risen by so much, so that a rising score costs a few pictures."""
_LEAST = {"uncertain": -0.1, "new": 0.1, "random": 0.0}
"""What a sampled frame needs: a score at most so far from its threshold; one minus the cosine to the nearest known."""
_KNOWN = 64
"""Frames of a place that a new one is compared with."""


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame that is kept.

    Attributes:
        time: when it was captured, in seconds since the epoch.
        logits: float32 (C,).
        features: float32 (D,), from an open plan. ``space``: the name of the features.
        picture: uint8 (H, W, 3) BGR, small.
        kind: ``event`` for the peak of one, or why it was sampled: ``uncertain``, ``new``, ``random``.
        score: the smoothed score of the label at the peak; of a sampled frame, the value that it was chosen by.
        event: the id of the event.
        heat: of the event's label; None: a sampled frame, an event of a region, or a plan without maps.
    """

    place: Place
    context: Context
    time: float
    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None
    space: str
    picture: NDArray[np.uint8]
    kind: str = "event"
    score: float = 0.0
    event: str | None = None
    heat: Heat | None = None


def heat_of(result: TagResult, frame: CapturedFrame, label: str) -> Heat | None:
    """The attention map of a label; None: a result of a part of the frame, or of a plan without maps."""
    if result.frame_size != frame.size:
        return None
    try:
        weights = result.attention(label, HEAT)
    except errors.OptionError:
        return None
    return (255 * weights / weights.max()).astype(np.uint8)


def small(frame: CapturedFrame) -> NDArray[np.uint8]:
    """A small copy of a frame, BGR."""
    return small_bgr(frame.pixels, frame.color, _SIDE)


class Peaks:
    """The frame of the highest smoothed score of each event of one place, and of each label that may become one."""

    def __init__(self) -> None:
        self._best: dict[str, Moment] = {}

    def see(
        self,
        detector: EventDetector,
        take: Callable[[], Moment],
        heat: Callable[[str], Heat | None],
    ) -> None:
        """Compare a frame with the peaks so far; ``take`` makes a moment of it, ``heat`` the map of a label."""
        tracks = detector.tracks
        moment = None
        names = {
            tracks.names[row]: row for row in np.flatnonzero(tracks.up | tracks.active).tolist()
        }
        self._best = {label: best for label, best in self._best.items() if label in names}
        for label, row in names.items():
            before = self._best.get(label)
            peak = float(tracks.peak[row])
            if tracks.peak_at[row] == tracks.last and (
                before is None or peak >= before.score + _RISE
            ):
                moment = moment or take()
                self._best[label] = replace(moment, score=peak, heat=heat(label))

    def of(self, label: str, event: str, ended: bool) -> Moment | None:
        """The moment of an event that has begun or ended; None: it had no peak."""
        best = self._best.pop(label, None) if ended else self._best.get(label)
        return best and replace(best, event=event)


class Samples:
    """Chooses, of the frames of one place in each ``period`` of seconds, the most uncertain one, the one that resembles
    the frames kept before least, and one at random."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._until = -np.inf
        self._closed = False
        self._best: dict[str, Moment] = {}
        self._known: deque[NDArray[np.float32]] = deque(maxlen=_KNOWN)

    def see(
        self, now: float, detector: EventDetector, result: TagResult, take: Callable[[], Moment]
    ) -> Iterator[Moment]:
        """Compare a frame with the best so far; yields the frames of a period that has ended."""
        if now >= self._until:
            yield from self.close()
            self._until = now + self._period
            self._closed = False
        if self._closed:
            return
        rules = detector.used
        values = {"random": random.random()}
        moment = None
        if rules.watched.any():
            values["uncertain"] = -float(np.abs(result.scores - rules.upper)[rules.watched].min())
        if result.features is not None:
            values["new"] = 1 - max(
                (float(features @ result.features) for features in self._known), default=0.0
            )
        for kind, value in values.items():
            if value >= (self._best[kind].score if kind in self._best else _LEAST[kind]):
                moment = moment or take()
                self._best[kind] = replace(moment, kind=kind, score=value)

    def close(self) -> Iterator[Moment]:
        """End the period early, for a camera that is lost or stopped; the next one begins when it would have ended."""
        chosen = self._best
        self._best = {}
        self._closed = True
        # A frame counts once. One that is random as well stays random: without the uncertain ones, the random frames
        # would be no random sample.
        by_time = {moment.time: moment for moment in chosen.values()}
        if "random" in chosen:
            by_time[chosen["random"].time] = chosen["random"]
        for moment in by_time.values():
            if moment.features is not None:
                self._known.append(moment.features)
            yield moment
