"""The last minutes of each camera, second by second, so that a page that is opened has its charts at once."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

_SECONDS = 600
_COUNTS = ("tagged", "dropped", "late")


class History:
    """Ages and counts of each second: ``[median age, largest age, tagged, dropped, late]``; ages in seconds.

    Ages are None in a second without a result.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        self._seconds: deque[tuple[float, dict[str, list[float | None]]]] = deque(maxlen=_SECONDS)
        self._ages: dict[str, list[float]] = {name: [] for name in cameras}
        self._before = {name: dict.fromkeys(_COUNTS, 0) for name in cameras}
        self._next = time.monotonic() + 1

    def add_age(self, camera: str, age: float) -> None:
        """A result of this second was so old when it was there."""
        self._ages[camera].append(age)

    def due(self) -> bool:
        """Whether the second is over."""
        return time.monotonic() >= self._next

    def close(self, wall: float, stats: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """End the second; ``stats`` are the cameras' figures since the start."""
        # Not one second after the last: a process that was stopped for long would catch up with empty ones.
        self._next = max(self._next + 1, time.monotonic() + 0.5)
        rows: dict[str, list[float | None]] = {}
        for name, ages in self._ages.items():
            counts = {count: stats[name][count] for count in _COUNTS}
            new = [counts[count] - self._before[name][count] for count in _COUNTS]
            middle = [round(statistics.median(ages), 4), round(max(ages), 4)] if ages else [None, None]
            rows[name] = [*middle, *new]
            self._before[name] = counts
            ages.clear()
        self._seconds.append((wall, rows))
        return {"time": wall, "cameras": rows}

    def to_dict(self) -> dict[str, Any]:
        """``{"times": [...], "cameras": {name: [row, ...]}}``, oldest first."""
        return {
            "times": [wall for wall, _ in self._seconds],
            "cameras": {name: [rows[name] for _, rows in self._seconds] for name in self._ages},
        }
