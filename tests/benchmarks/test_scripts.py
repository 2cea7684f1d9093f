"""The benchmark scripts run, on a tiny plan and in short; no time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr[-2000:]
    return done.stdout


def test_latency_times_every_case(tmp_path: Path) -> None:
    out = tmp_path / "latency.json"
    assert "predict()" in run("latency.py", "--rounds", "1", "--json", str(out))
    figures = json.loads(out.read_text())
    assert figures["conditions"]["samples"]["predict()"] == 10
    assert figures["median_ms"].keys() == figures["conditions"]["samples"].keys()
    assert all(value > 0 for value in figures["median_ms"].values())


def test_preprocess_times_every_layout(tmp_path: Path) -> None:
    out = tmp_path / "preprocess.json"
    run("preprocess.py", "--rounds", "1", "--size", "64", "--json", str(out))
    assert out.stat().st_size > 0


def test_start_measures_cold_and_warm(tmp_path: Path) -> None:
    out = tmp_path / "start.json"
    run("start.py", "--samples", "1", "--json", str(out))
    assert json.loads(out.read_text())["Tagger(), s"].keys() == {"cold", "warm, median"}


def test_cameras_measures_ages_and_shares(tmp_path: Path) -> None:
    out = tmp_path / "cameras.json"
    run("cameras.py", "--minutes", "0.05", "--threads", "1", "--size", "160x120", "--json", str(out))
    figures = json.loads(out.read_text())
    assert figures["latency"]["tagged"] > 20
    assert figures["latency"]["age p50, ms"] > 50
    assert 0 < figures["four cameras"]["smallest share of a fair one"] <= 1


def test_soak_sees_a_leak(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    run("soak.py", "--minutes", "0.25", "--fps", "10", "--leak", "--json", str(out), status=1)
    figures = json.loads(out.read_text())
    assert figures["growth_percent"] > 2
    assert figures["reconnects"]["freezes"] > 0
    assert figures["reconnects"]["breaks-off"] > 0
