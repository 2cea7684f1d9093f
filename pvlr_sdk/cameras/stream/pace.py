"""Timing: the times of a file's frames, when to take the next frame, and when other work may use the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..sources import CapturedFrame
from .inboxes import Inboxes

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ...result import TagResult
    from .work import FrameWork, Piece

_WINDOW = 0.005
"""Longest time in seconds that a prepared frame should wait for the engine."""
_PATIENCE = 0.2
"""Maximum wait in seconds for the end of the frames in flight, so that uploads are not starved."""


@dataclass(slots=True)
class InFlight:
    """A piece of a frame in flight, the plan (SHA-256), whether it is the frame's last, and the estimated
    ``time.monotonic()`` of its inference, begin and end."""

    work: FrameWork
    piece: Piece
    future: Future[TagResult]
    plan: str
    last: bool
    start: float
    due: float


class Playback:
    """Delays a file's frames until their time, as a camera would deliver them."""

    def __init__(self) -> None:
        self._start: float | None = None

    def hold(self, frame: CapturedFrame, inboxes: Inboxes) -> CapturedFrame:
        """Wait for the frame's time and set it as its time of capture; returns immediately once inboxes are closed."""
        now = time.monotonic()
        position = frame.source_time or 0.0
        # Restarted where decoding cannot keep up, or where the file's clock jumps: no bursts, no endless waits.
        if self._start is None or not -1 < self._start + position - now < 10:
            self._start = now - position
        inboxes.sleep(self._start + position - now)
        return replace(frame, captured=time.monotonic(), wall=time.time())


class Clock:
    """Monotonic and wall time of a camera's frames: the machine's, or the file's own.

    Args:
        media: take the times from the file, which is read faster or slower than it was recorded. They count from its
            first frame, so that they are the same each time, and continue when the file is restarted.
    """

    def __init__(self, *, media: bool) -> None:
        self._media = media
        self._wall: float | None = None
        """Wall time of the file's time 0; None before its first frame."""
        self._base = 0.0
        self._last = 0.0

    def read(self, frame: CapturedFrame) -> tuple[float, float]:
        """Monotonic and wall time of a frame, in seconds."""
        if not self._media or frame.source_time is None:
            return frame.captured, frame.wall
        if self._wall is None:
            self._wall = frame.wall - frame.source_time
        if self._base + frame.source_time < self._last:
            self._base = self._last - frame.source_time
        self._last = self._base + frame.source_time
        return self._last, self._last + self._wall

    def now(self) -> float:
        """The camera's current monotonic time."""
        return time.monotonic() if self._wall is None else self._last


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

    def inferred(self, seconds: float, waited: float, count: float = 1.0) -> None:
        """Record how long the engine took for so many inferences, and how long this thread ``waited`` for them."""
        seconds = seconds / count if count else self.inference
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


class EngineShare:
    """Lets other work use the engine while no frame is in flight, one piece at a time: a frame waits at most for one.

    Without it, four clients that upload without pause leave a camera's results five times as old (simulated engine).
    """

    def __init__(self) -> None:
        self._in_flight = 0
        self._ended = threading.Condition()
        self._turn = threading.Lock()

    def begin(self) -> None:
        """A frame is in flight."""
        with self._ended:
            self._in_flight += 1

    def end(self) -> None:
        """A frame is no longer in flight."""
        with self._ended:
            self._in_flight -= 1
            self._ended.notify_all()

    @contextmanager
    def between_frames(self) -> Iterator[None]:
        """Wait until no frame is in flight, but not for long; other callers wait until this one is done."""
        with self._turn:
            with self._ended:
                self._ended.wait_for(lambda: not self._in_flight, _PATIENCE)
            yield
