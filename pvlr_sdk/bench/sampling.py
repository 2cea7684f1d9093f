"""Samples of a repeated call: warmed up by time, taken until the median is stable."""

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
"""The medians of two halves may differ by this share: of all samples, and of the second half of them."""


def sample(
    call: Callable[[], Mapping[str, float]], *, warm_up: float, seconds: float, least: int = _LEAST
) -> dict[str, Times]:
    """Repeat a call and collect what it measured, in the order of the calls.

    Args:
        call: does the work once and returns milliseconds by stage, ``total`` among them.
        warm_up: seconds of calls that are not counted: caches fill, clocks rise, pages are mapped.
        seconds: stop after this time even if the median is not stable.
        least: how many samples there are at least, however long they take.
    """
    repeat_for(warm_up, call)
    rows: list[Mapping[str, float]] = []
    end = time.perf_counter() + seconds
    while len(rows) < least or (time.perf_counter() < end and not is_stable([row["total"] for row in rows])):
        rows += [call() for _ in range(min(_BLOCK, least))]
    return {stage: np.array([row[stage] for row in rows]) for stage in rows[0]}


def repeat_for(seconds: float, call: Callable[[], object]) -> int:
    """Repeat a call for some time, at least once; returns how often."""
    count, end = 0, time.perf_counter() + seconds
    while count == 0 or time.perf_counter() < end:
        call()
        count += 1
    return count


def is_stable(values: list[float] | Times) -> bool:
    """Whether more samples would hardly move the median."""
    half = len(values) // 2
    return drift(values) < _STABLE and drift(values[half:]) < _STABLE


def drift(values: list[float] | Times) -> float:
    """How far the medians of the first and the second half are apart, as a share of the first's."""
    half = len(values) // 2
    return float(abs(np.median(values[half:]) / np.median(values[:half]) - 1))


def summary(values: Times) -> dict[str, float]:
    """``min``, ``mean``, ``p50`` to ``p99.9`` and ``samples``."""
    figures = {f"p{p:g}": float(np.percentile(values, p)) for p in PERCENTILES}
    rounded = {name: round(value, 4) for name, value in {"min": values.min(), "mean": values.mean(), **figures}.items()}
    return {**rounded, "samples": len(values)}
