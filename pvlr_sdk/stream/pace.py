"""Time: a file played at its own pace, and the moment at which the next frame should be taken."""

from __future__ import annotations

import time
from dataclasses import replace

from ..sources import CapturedFrame
from .inboxes import Inboxes


class Playback:
    """Holds a file's frames back until their time, as if a camera gave them."""

    def __init__(self) -> None:
        self._start: float | None = None

    def hold(self, frame: CapturedFrame, inboxes: Inboxes) -> CapturedFrame:
        """The frame, captured at the moment at which it is shown; returns at once when the inboxes are closed."""
        now, position = time.monotonic(), frame.source_time or 0.0
        # Started anew where decoding can't keep up, or where the file's clock jumps: no bursts, no endless waits.
        if self._start is None or not -1 < self._start + position - now < 10:
            self._start = now - position
        inboxes.sleep(self._start + position - now)
        return replace(frame, captured=time.monotonic(), wall=time.time())


class EnginePace:
    """Learns how long the engine and the caller take, and from that when to take the next frame.

    Frames wait for an engine that is busy, and grow old; an engine that waits for a frame is wasted. So the next frame
    is taken at the last moment at which it can be ready when the engine is.

    Args:
        window: a frame that is ready should wait no longer than this for the engine, in seconds.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self.inference = 0.0
        self.preparation = 0.0
        self.caller = 0.0

    def prepared(self, seconds: float) -> None:
        """A frame was preprocessed and handed to the engine."""
        self.preparation += 0.2 * (seconds - self.preparation)

    def called(self, seconds: float) -> None:
        """The caller came back for more."""
        self.caller += 0.2 * (seconds - self.caller)

    def inferred(self, seconds: float, waited: float) -> None:
        """The engine was seen to have finished a frame, after ``waited`` seconds of waiting for it."""
        if not self.inference:
            self.inference = seconds
        elif waited > 1e-4:
            # A process that was stopped for a minute says nothing of its engine. Believed, it would have us sleep for
            # seconds beside an engine that is done.
            self.inference += 0.2 * (min(seconds, 2 * self.inference) - self.inference)
        else:
            # It was done before anyone looked: all that is known is that it takes less. Without this step an estimate
            # that is too long would delay the look at the result, and so confirm itself.
            self.inference = 0.95 * min(self.inference, seconds)

    @property
    def overlaps(self) -> bool:
        """Whether a frame taken while the engine is busy will still be fresh when the caller comes for it."""
        return self.caller < self.inference

    def last_moment(self, due: float) -> float:
        """When to take the next frame, if the engine is done at ``due``; both are ``time.monotonic()``."""
        return due - self.preparation - min(self._window, 0.5 * self.inference)
