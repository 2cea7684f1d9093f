"""The check of the CUDA kernels and their timing, as far as possible without a GPU."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common import ROOT

torch = pytest.importorskip("torch")

from benchmarks.gpu import gpu_timing  # noqa: E402
from benchmarks.gpu.gpu_cases import KERNELS  # noqa: E402

CHECK = ROOT / "benchmarks/gpu/gpu_check.sh"


def _times(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu.kernels_gpu", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_short_run_on_the_cpu(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = _times("--device", "cpu", "--short", "--dtype", dtype, "--json", path)
    assert done.returncode == 0, done.stderr
    data = json.loads(path.read_text())
    assert data["conditions"]["card"].startswith("CPU")
    row = next(row for row in data["rows"] if row["kernel"] == "attention")
    assert set(row["times"]) == {"ours", "eager", "torch.compile", "2 SDPA"}
    assert all(set(times) == {"call", "call, cold", "graph", "graph, cold"} for times in row["times"].values())
    assert all(row["wrong"] == [] for row in data["rows"])
    assert "attention B=1" in done.stdout
    assert [row["kernel"] for row in data["rows"]] == list(KERNELS)


@pytest.mark.slow
def test_wrong_results_fail(tmp_path: Path) -> None:
    """With a kernel that answers zeros."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pvlr_sdk import kernels\n"
        "kernels.dual_softmax_attention = lambda *inputs, out, **options: [one.zero_() for one in out]\n"
        "from benchmarks.gpu import kernels_gpu\n"
        "kernels_gpu.run(kernels_gpu.main)\n"
    )
    command = [sys.executable, wrong, "--device", "cpu", "--short", "--kernel", "attention"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "attention B=1 N=49 C=20: ours" in done.stderr) == (1, True), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = _times()
    assert done.returncode == 3
    assert done.stderr.startswith("kernels_gpu: no GPU: PyTorch ")
    assert _times("--kernel", "attentoin").stderr.startswith("kernels_gpu: unknown: attentoin")


def test_the_median_waits_until_it_is_stable() -> None:
    steps = iter([[4.0] * 3] * 3)  # medians 7, 4, 4; a fourth would raise
    assert gpu_timing.median([10.0] * 3, 0.01, lambda: next(steps)) == 4.0
    steady = gpu_timing.CpuClock()
    assert all(value > 0 for value in steady.samples(lambda: None, 5, cold=True))


def _fake_tools(folder: Path, **scripts: str) -> dict[str, str]:
    """A PATH with tools that record their calls."""
    for name in ("python3", "nvcc", "compute-sanitizer", "cmake", "c++"):
        body = scripts.get(name.replace("-", "_"), "")
        tool = folder / name
        tool.write_text(f'#!/bin/bash\necho "{name} $*" >>"{folder}/calls"\n{body}\n')
        tool.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:/usr/bin:/bin", "PVLR_REQUIRE_GPU": ""}


def _check(folder: Path, environment: dict[str, str]) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    command = ["bash", str(CHECK), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    calls = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
    return done, [call for call in calls if " -c " not in call]


def test_gpu_check_runs_every_step(tmp_path: Path) -> None:
    done, calls = _check(tmp_path, _fake_tools(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [
        re.sub(r"\s.*(racecheck|memcheck|pip|tests/csrc/device$|kernels_gpu).*", r" \1", call) for call in calls
    ] == [
        "python3 pip",
        "python3 tests/csrc/device",
        "compute-sanitizer memcheck",
        "compute-sanitizer racecheck",
        "python3 kernels_gpu",
    ]
    assert "all passed" in done.stdout


def test_gpu_check_goes_on_after_a_failure_and_names_it(tmp_path: Path) -> None:
    fails = '[[ "$*" == *memcheck* ]] && { echo "Invalid __global__ read"; exit 9; }; true'
    done, calls = _check(tmp_path, _fake_tools(tmp_path, compute_sanitizer=fails))
    assert (done.returncode, len(calls)) == (1, 5)
    assert "FAILED: memcheck (status 9" in done.stderr
    assert "Invalid __global__ read" in (tmp_path / "out/memcheck.log").read_text()


def test_gpu_check_stops_without_a_build(tmp_path: Path) -> None:
    done, calls = _check(tmp_path, _fake_tools(tmp_path, python3='[[ "$*" == *pip* ]] && exit 1; true'))
    assert (done.returncode, len(calls)) == (1, 1)
    assert "FAILED: build" in done.stderr


@pytest.mark.parametrize(
    ("tool", "body", "words"),
    [
        ("nvcc", None, "no nvcc: install the CUDA toolkit"),
        ("compute-sanitizer", None, "no compute-sanitizer"),
        ("python3", '[[ "$*" == *"import torch"* ]] && exit 1', "no PyTorch"),
        ("python3", '[[ "$*" == *cuda.is_available* ]] && exit 1; true', "no GPU: PyTorch finds none"),
    ],
)
def test_gpu_check_names_what_is_missing(tool: str, body: str | None, words: str, tmp_path: Path) -> None:
    environment = _fake_tools(tmp_path, **{tool.replace("-", "_"): body or ""})
    if body is None:
        (tmp_path / tool).unlink()
        if shutil.which(tool, path=environment["PATH"]):
            pytest.skip(f"{tool} is in /usr/bin")
    done, calls = _check(tmp_path, environment)
    assert (done.returncode, calls) == (3, [])
    assert words in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck on this machine")
def test_shell_scripts_are_clean() -> None:
    subprocess.run(["shellcheck", "-e", "SC1091", CHECK, CHECK.parent / "trt_check.sh", ROOT / ".ci/run"], check=True)
