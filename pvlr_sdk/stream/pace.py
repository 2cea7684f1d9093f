"""Timing: playing a file at its own rate, and when to take the next frame."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..sources import CapturedFrame
from .inboxes import Inboxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .still import PartInFlight

_WINDOW = 0.005
"""Longest time in seconds that a prepared frame should wait for the engine."""


@dataclass(slots=True)
class InFlight:
    """A frame in flight, its plan (SHA-256), its parts, the share of these that is computed, and the estimated
    ``time.monotonic()`` of the inference, begin and end."""

    index: int
    frame: CapturedFrame
    plan: str
    parts: Sequence[PartInFlight]
    share: float
    start: float
    due: float


class Playback:
    """Delays a file's frames until their time, as a camera would deliver them."""

    def __init__(self) -> None:
        self._start: float | None = None

    def hold(self, frame: CapturedFrame, inboxes: Inboxes) -> CapturedFrame:
        """Wait for the frame's time and set it as its time of capture; returns immediately once inboxes are closed."""
        now, position = time.monotonic(), frame.source_time or 0.0
        # Restarted where decoding cannot keep up, or where the file's clock jumps: no bursts, no endless waits.
        if self._start is None or not -1 < self._start + position - now < 10:
            self._start = now - position
        inboxes.sleep(self._start + position - now)
        return replace(frame, captured=time.monotonic(), wall=time.time())


class EnginePace:
    """Estimates how long the engine and the caller take, and from that when to take the next frame.

    Frames that wait for a busy engine grow old; an engine that waits for a frame is idle. So the next frame is taken
    at the last moment at which it can still be ready when the engine is.
    """

    def __init__(self) -> None:
        self.inference = 0.0
        self.preparation = 0.0
        self.caller = 0.0

    def prepared(self, seconds: float) -> None:
        """Record how long a frame took to decode and preprocess."""
        self.preparation += 0.2 * (seconds - self.preparation)

    def called(self, seconds: float) -> None:
        """Record how long the caller kept an observation before asking for the next."""
        self.caller += 0.2 * (seconds - self.caller)

    def inferred(self, seconds: float, waited: float, share: float = 1.0) -> None:
        """Record how long the engine took for a ``share`` of a frame, and how long this thread ``waited`` for it."""
        seconds = seconds / share if share else self.inference
        if not self.inference:
            self.inference = seconds
        elif waited > 1e-4:
            # Bounded: the time of a process that was stopped for a minute says nothing about the engine, and would
            # make this thread sleep for seconds although the engine is done.
            self.inference += 0.2 * (min(seconds, 2 * self.inference) - self.inference)
        else:
            # The result was there before: the engine takes less. Without this step an estimate that is too long would
            # delay the request for the result, and so confirm itself.
            self.inference = 0.95 * min(self.inference, seconds)

    @property
    def overlaps(self) -> bool:
        """Whether a frame taken while the engine is busy will still be fresh when the caller asks for it."""
        return self.caller < self.inference

    def last_moment(self, due: float) -> float:
        """The ``time.monotonic()`` to take the next frame if the engine is done at ``due``."""
        return due - self.preparation - min(_WINDOW, 0.5 * self.inference)
