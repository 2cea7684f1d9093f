"""Figures of a camera, from moments that are known."""

from __future__ import annotations

import time

import pytest

from pvlr_sdk.cameras.stream.stats import Counters


def test_frames_per_second_are_those_of_the_last_seconds() -> None:
    counters = Counters()
    assert counters.snapshot().fps == 0
    now = time.monotonic()
    for ago in (9.0, 8.9, 8.8, 2.0, 1.5, 1.0, 0.5, 0.0):
        counters.captured(now - ago, (48, 64))
    figures = counters.snapshot()
    assert figures.fps == pytest.approx(2)
    assert (figures.captured, figures.size) == (8, (48, 64))


def test_ages_are_percentiles_of_the_tagged_frames() -> None:
    counters = Counters()
    assert counters.snapshot().age_p50 is None
    for percent in range(101):
        counters.tagged(percent / 100, late=percent > 90, tiles=3, computed=2)
    figures = counters.snapshot()
    assert (figures.age_p50, figures.age_p99) == (pytest.approx(0.5), pytest.approx(0.99))
    assert (figures.tagged, figures.late, figures.tiles, figures.computed) == (101, 10, 303, 202)


def test_failures_are_logged_ever_more_rarely() -> None:
    counters = Counters()
    assert [n for n in range(1, 20) if counters.failed()] == [1, 2, 4, 8, 16]
