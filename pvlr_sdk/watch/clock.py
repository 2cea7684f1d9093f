"""The times of a camera's frames."""

from __future__ import annotations

import time

from ..sources import CapturedFrame


class Clock:
    """Monotonic and wall time of a camera's frames: the machine's, or the file's own.

    Args:
        media: take the times from the file, which is read faster or slower than it was recorded. They start when its
            first frame is read, and continue when the file is restarted.
    """

    def __init__(self, *, media: bool) -> None:
        self._media = media
        self._base: float | None = None
        self._wall = 0.0
        self._last = 0.0

    def read(self, frame: CapturedFrame) -> tuple[float, float]:
        """Monotonic and wall time of a frame, in seconds."""
        if not self._media or frame.source_time is None:
            return frame.captured, frame.wall
        if self._base is None:
            self._base, self._wall = frame.captured - frame.source_time, frame.wall - frame.captured
        elif self._base + frame.source_time < self._last:
            self._base = self._last - frame.source_time
        self._last = self._base + frame.source_time
        return self._last, self._last + self._wall

    def now(self) -> float:
        """The camera's current monotonic time."""
        return time.monotonic() if self._base is None else self._last
