"""The engine between a stream's frames and other work, such as uploaded images."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 0.1
"""Maximum wait in seconds for an idle gap, so that uploads are not starved."""
_LOOK = 0.01
"""Seconds between two looks for a gap."""
_STEP = 0.2
"""Weight of the newest time in a moving average."""


class EngineShare:
    """Lets other work use the engine in the gaps between frames, one piece at a time.

    A frame waits at most for one such piece, and only if the piece took longer than before, the frame came earlier than
    expected, or no gap was long enough for 0.1 s.

    Args:
        cameras: number of cameras.
    """

    def __init__(self, cameras: int) -> None:
        self._last = [0.0] * cameras
        self._intervals = [0.0] * cameras
        self._in_flight = 0
        self._ended = 0
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._seconds = 0.0

    def begin(self, camera: int) -> None:
        """A frame of this camera is in flight."""
        now = time.monotonic()
        with self._changed:
            self._in_flight += 1
            interval = now - self._last[camera]
            if self._intervals[camera]:
                # Bounded: a camera that was away for an hour comes as often as before.
                interval = min(interval, 2 * self._intervals[camera])
                self._intervals[camera] += _STEP * (interval - self._intervals[camera])
            elif self._last[camera]:
                self._intervals[camera] = interval
            self._last[camera] = now

    def end(self) -> None:
        """A frame is no longer in flight."""
        with self._changed:
            self._in_flight -= 1
            self._ended += 1
            if not self._in_flight:
                self._changed.notify_all()

    @contextmanager
    def between_frames(self) -> Iterator[None]:
        """Wait for a gap, but not for long; other callers wait until this one is done."""
        with self._turn:
            with self._changed:
                end = time.monotonic() + _PATIENCE
                while not self._fits() and time.monotonic() < end:
                    self._changed.wait(_LOOK)
                if not self._fits():
                    # The gap is too short, so begin where it begins: at the end of a frame.
                    ended = self._ended
                    self._changed.wait_for(lambda: self._ended > ended and not self._in_flight, _PATIENCE)
            began = time.monotonic()
            yield
            self._seconds += _STEP * (time.monotonic() - began - self._seconds)

    def _fits(self) -> bool:
        """Whether no frame is in flight, and none is expected during the time that the work usually takes."""
        if self._in_flight:
            return False
        now = time.monotonic()
        for last, interval in zip(self._last, self._intervals, strict=True):
            # A frame that is late by a whole interval is not expected any more: the camera may be lost.
            if last + interval - self._seconds < now < last + 2 * interval:
                return False
        return True
