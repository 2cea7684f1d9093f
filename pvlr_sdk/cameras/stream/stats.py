"""Counters and ages of each camera."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from .camera import CameraState

_WINDOW = 1024


@dataclass(frozen=True, slots=True)
class CameraStats:
    """Statistics of one camera; counts since the stream was created.

    Attributes:
        state: ``starting`` until the first attempt succeeds or fails, then ``live``,
            ``paused``, ``lost`` or ``ended``.
        reason: why it is lost or has ended.
        captured: frames decoded.
        tagged: frames tagged.
        dropped: frames replaced by a newer one before they were tagged, or skipped by the decoder.
        tiles: frames tagged, each counted with its tiles; ``computed``: how many of these did not keep their scores.
        late: tagged frames with an age above the staleness.
        failed: frames that could not be tagged.
        reconnects: attempts to open it again after it was lost.
        decode_errors: damaged packets discarded.
        size: height and width of the newest frame; None before the first.
        fps: captured frames per second, over the last few seconds.
        age_p50, age_p99: seconds from capture to result, of the last 1024 tagged frames; None before the first.
    """

    state: CameraState | str
    reason: str
    captured: int
    tagged: int
    tiles: int
    computed: int
    dropped: int
    late: int
    failed: int
    reconnects: int
    decode_errors: int
    size: tuple[int, int] | None
    fps: float
    age_p50: float | None
    age_p99: float | None


class Counters:
    """Collects :class:`CameraStats`; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        names = (
            "captured",
            "tagged",
            "tiles",
            "computed",
            "dropped",
            "late",
            "failed",
            "reconnects",
            "decode_errors",
        )
        self._counts = dict.fromkeys(names, 0)
        self._state = "starting"
        self._reason = ""
        self._size: tuple[int, int] | None = None
        self._ages: deque[float] = deque(maxlen=_WINDOW)
        self._captures: deque[float] = deque(maxlen=128)

    def add(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count

    def failed(self) -> bool:
        """Count a frame that could not be tagged; returns whether to log it: each one of a camera would fill a disk."""
        self.add(failed=1)
        return self._counts["failed"].bit_count() == 1  # the 1st, 2nd, 4th, 8th, ...

    def captured(self, moment: float, size: tuple[int, int]) -> None:
        """Count a frame decoded at this ``time.monotonic()``."""
        with self._lock:
            self._counts["captured"] += 1
            self._captures.append(moment)
            self._size = size

    def tagged(self, age: float, late: bool, tiles: int, computed: int) -> None:
        """Count a frame tagged ``age`` seconds after its capture."""
        self.add(tagged=1, late=late, tiles=tiles, computed=computed)
        with self._lock:
            self._ages.append(age)

    def changed(self, state: str, reason: str) -> bool:
        """Set the state and its reason; returns whether the state is new."""
        with self._lock:
            new = state != self._state
            self._state = state
            self._reason = reason
            return new

    def snapshot(self) -> CameraStats:
        with self._lock:
            ages = list(self._ages)
            captures = list(self._captures)
            counts = dict(self._counts)
            state = self._state
            reason = self._reason
            size = self._size
        recent = [moment for moment in captures if moment > time.monotonic() - 5]
        span = recent[-1] - recent[0] if len(recent) > 1 else 0.0
        p50, p99 = np.percentile(ages, [50, 99]).tolist() if ages else (None, None)
        fps = (len(recent) - 1) / span if span else 0.0
        return CameraStats(
            state=state, reason=reason, size=size, fps=fps, age_p50=p50, age_p99=p99, **counts
        )
