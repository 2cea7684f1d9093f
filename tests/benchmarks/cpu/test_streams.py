"""The benchmarks of streams, and the soak test, which fails for a leak."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pvlr_sdk.cameras.stream.leaks import judge


@pytest.mark.slow
def test_cameras_measures_ages_and_shares(run: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "cameras.json"
    run(
        "benchmarks.cpu.cameras",
        "--minutes",
        "0.05",
        "--threads",
        "1",
        "--size",
        "160x120",
        "--json",
        out,
    )
    figures = json.loads(out.read_text())
    assert figures["latency"]["tagged"] > 20
    assert figures["latency"]["age p50, ms"] > 50
    assert 0 < figures["four cameras"]["smallest share, relative to an equal one"] <= 1


@pytest.mark.slow
def test_soak_sees_a_leak(run: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    run(
        "tests.pvlr_sdk.cameras.stream.leaks",
        "--minutes",
        "0.25",
        "--fps",
        "10",
        "--leak",
        "--json",
        out,
        status=1,
    )
    figures = json.loads(out.read_text())
    assert figures["complete"]
    assert figures["growth_percent"] > 2
    assert figures["memory_mb_per_hour"] > 100
    assert figures["reconnects"]["freezes"] > 0
    assert figures["reconnects"]["breaks-off"] > 0


def test_slopes_are_per_hour() -> None:
    """A sample per minute over 24 hours, with 3 MB and 0.5 descriptors more per hour."""
    hours = [minute / 60 for minute in range(1440)]
    figures = judge([[3600 * hour, 2e8 + 3e6 * hour, 12, 20 + 0.5 * hour] for hour in hours])
    assert figures["memory_mb_per_hour"] == pytest.approx(3)
    assert figures["descriptors_per_hour"] == pytest.approx(0.5)
    assert figures["threads_per_hour"] == pytest.approx(0, abs=1e-9)
    assert figures["hours"] == pytest.approx(18, abs=0.1)


@pytest.mark.slow
def test_a_soak_that_is_killed_can_be_read(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    options = ["--minutes", "5", "--fps", "10", "--every", "0.5", "--json", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.pvlr_sdk.cameras.stream.leaks", *options]
    )
    try:
        end = time.monotonic() + 60
        while not out.exists() or json.loads(out.read_text())["hours"] < 1 / 3600:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    figures = json.loads(out.read_text())
    assert figures["complete"] is False
    assert {"memory_mb_per_hour", "threads_per_hour", "descriptors_per_hour"} <= set(figures)
    assert [path.name for path in tmp_path.iterdir()] == ["soak.json"]
