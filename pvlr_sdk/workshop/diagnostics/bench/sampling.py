"""Samples of a repeated call, taken until the median is stable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
_LEAST = 200
_BLOCK = 50
_STABLE = 0.01
"""Allowed relative difference between the medians of two halves: of all samples, and of their second half."""


def sample(
    call: Callable[[], Mapping[str, float]], *, seconds: float, least: int = _LEAST
) -> dict[str, Times]:
    """Repeat a call and collect its measurements, in the order of the calls.

    Args:
        call: does the work once and returns milliseconds per stage, including ``total``.
        seconds: time after which to stop even if the median is not stable.
        least: minimum number of samples, however long they take.
    """
    rows: list[Mapping[str, float]] = []
    end = time.perf_counter() + seconds
    while len(rows) < least or (
        time.perf_counter() < end and not is_stable([row["total"] for row in rows])
    ):
        rows += [call() for _ in range(min(_BLOCK, least))]
    return {stage: np.array([row[stage] for row in rows]) for stage in rows[0]}


def repeat_for(seconds: float, call: Callable[[], object]) -> int:
    """Repeat a call for this time, at least once, and return the number of calls."""
    count = 0
    end = time.perf_counter() + seconds
    while count == 0 or time.perf_counter() < end:
        call()
        count += 1
    return count


def is_stable(values: list[float] | Times) -> bool:
    """Whether more samples would hardly change the median."""
    half = len(values) // 2
    return drift(values) < _STABLE and drift(values[half:]) < _STABLE


def drift(values: list[float] | Times) -> float:
    """Relative difference between the medians of the second and the first half."""
    half = len(values) // 2
    return float(abs(np.median(values[half:]) / np.median(values[:half]) - 1))


def summary(values: Times) -> dict[str, float]:
    """``min``, ``mean``, ``p50`` to ``p99.9`` and ``samples``."""
    percentiles = {f"p{p:g}": float(np.percentile(values, p)) for p in PERCENTILES}
    rounded = {
        name: round(value, 4)
        for name, value in {"min": values.min(), "mean": values.mean(), **percentiles}.items()
    }
    return {**rounded, "samples": len(values)}
