"""pvlr bench: it measures the calls that it makes; no time is asserted beyond that of the sleeps."""

from __future__ import annotations

import getpass
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.workshop.diagnostics.bench import measure, sampling, share


@pytest.fixture(scope="module")
def report(plan: Path) -> dict[str, Any]:
    return measure.bench(plan, seconds=0.2)


@pytest.mark.slow
def test_report_has_every_figure(report: dict[str, Any]) -> None:
    report = json.loads(json.dumps(report))  # plain values only
    assert set(report["latency_ms"]) == {*measure.STAGES, "frame"}
    for figures in report["latency_ms"].values():
        ordered = [figures[name] for name in ("min", "p50", "p90", "p95", "p99", "p99.9")]
        assert ordered == sorted(ordered)
        assert figures["samples"] == len(report["samples_ms"]) >= 20
    assert all(rate > 0 for rates in report["throughput"].values() for rate in rates.values())
    assert [len(rates) for rates in report["throughput"].values()] == [4, 4, 3]
    assert report["picture"] == {
        "height": 1080,
        "width": 1920,
        "bytes": len(measure.synthetic_jpeg()),
    }
    assert report["start_ms"]["load"] > 0
    assert report["start_ms"]["first_frame"] > 0
    assert report["peak_memory_mb"] > 50


@pytest.mark.slow
def test_a_shared_report_has_what_a_reader_needs_and_nothing_private(
    report: dict[str, Any], plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = "Linux-6.12.25-anna.miller-build7-aarch64-with-glibc2.41"
    planted = {**report, "machine": {**report["machine"], "system": kernel, "serial": "10000000f"}}
    monkeypatch.setattr(share, "_BOARD", tmp_path / "model")
    (tmp_path / "model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    shared = share.shared(planted)
    assert shared["machine"]["system"] == "Linux 6.12, aarch64, glibc 2.41"
    assert shared["machine"]["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert (shared["plan"]["model"], shared["plan"]["labels"]) == ("another plan", 5)
    assert shared["latency_ms"]["total"]["samples"] >= 20
    text = share.to_markdown(shared)
    for private in (
        socket.gethostname(),
        str(plan),
        str(Path.home()),
        "anna",
        "10000000f",
        "rocket",
    ):
        assert not re.search(rf"(?<!\w){re.escape(private)}(?!\w)", text), private
    assert getpass.getuser() not in re.findall(r"\w+", text)
    assert json.loads(text.split("```json\n")[1].removesuffix("\n```")) == json.loads(
        json.dumps(shared)
    )
    assert len(json.dumps(shared)) < 3000
    table = text.partition("\n\n")[2].partition("\n\n")[0].splitlines()
    assert [line.count("|") for line in table] == [5] * 7


@pytest.mark.slow
def test_a_shared_report_names_a_released_plan_by_its_hash(report: dict[str, Any]) -> None:
    model = next(model for model in share.catalogue().models if model.name == "pvlr-lite2-open")
    released = {**report["plan"], "name": "mine", "sha256": model.files[".plan"].sha256}
    assert share.shared({**report, "plan": released})["plan"]["model"] == "pvlr-lite2-open"


@pytest.mark.slow
def test_peak_memory_leaves_out_the_program_that_started_this_one() -> None:
    start = "import subprocess, sys; bytearray(b'1') * 600_000_000; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    show = "from pvlr_sdk.workshop.diagnostics.bench.machine import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run(
        [sys.executable, "-c", start, show], capture_output=True, text=True, check=True
    )
    assert 5 < float(done.stdout) < 500


@pytest.mark.slow
def test_stages_add_up_to_the_total(report: dict[str, Any]) -> None:
    mean = {stage: figures["mean"] for stage, figures in report["latency_ms"].items()}
    parts = sum(mean[stage] for stage in ("decode", "preprocess", "inference", "head"))
    assert mean["total"] == pytest.approx(parts, rel=1e-3)
    assert mean["frame"] == pytest.approx(mean["total"] - mean["decode"], rel=1e-3)


def test_latencies_begin_after_a_fifth_of_the_time(plan: Path) -> None:
    calls = []
    with Tagger(plan, num_threads=1) as tagger:
        tagger.predict = lambda data, predict=tagger.predict: (calls.append(1), predict(data))[1]
        times = measure._latency(
            tagger, cv2.imencode(".png", np.zeros((8, 8, 3)))[1].tobytes(), 0.2
        )
    assert len(times["total"]) >= 20
    assert len(calls) > len(times["total"])


def test_summary_is_numpys() -> None:
    values = np.random.default_rng(0).exponential(size=5001)
    figures = sampling.summary(values)
    assert figures["min"] == pytest.approx(values.min(), abs=1e-4)
    assert figures["p99.9"] == pytest.approx(np.percentile(values, 99.9), abs=1e-4)
    assert figures["samples"] == 5001


def test_sampling_stops_once_the_median_is_stable_and_goes_on_while_it_drifts() -> None:
    steady = sampling.sample(lambda: {"total": 1.0}, seconds=5, least=100)
    assert len(steady["total"]) == 100
    count = 0

    def slower_and_slower() -> dict[str, float]:
        nonlocal count
        count += 1
        return {"total": float(count)}

    began = time.perf_counter()
    assert len(sampling.sample(slower_and_slower, seconds=0.1, least=100)["total"]) > 100
    assert time.perf_counter() - began >= 0.1


def test_warnings_name_what_is_wrong() -> None:
    calm = {"load": 0.0, "clock_mhz": 2000.0, "throttled": 3.0}
    even = {"total": np.full(400, 2.0)}
    assert measure.warnings(even, calm, calm, 2) == []
    assert "busy" in measure.warnings(even, {**calm, "load": 1.0}, calm, 2)[0]
    assert "heat" in measure.warnings(even, calm, {**calm, "throttled": 4.0}, 2)[0]
    assert "1000 MHz" in measure.warnings(even, calm, {**calm, "clock_mhz": 1000.0}, 2)[0]
    assert (
        "drifted by 50 %"
        in measure.warnings({"total": np.repeat([2.0, 3.0], 200)}, calm, calm, 2)[0]
    )
    tail = np.full(400, 2.0)
    tail[::40] = 9
    assert "p99 is 4.5 times" in measure.warnings({"total": tail}, calm, calm, 2)[0]


def test_an_image_that_is_missing(plan: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.ImageNotFoundError, match=r"none\.jpg"):
        measure.bench(plan, image=tmp_path / "none.jpg")
