"""Runs of the benchmarks from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import CLOSED, ROOT
from pvlr_sdk.compile.build import build
from pvlr_sdk.compile.calibration import CalibrationImages
from pvlr_sdk.models.find import find_plan
from tests.benchmarks.photos import make_images


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Runs a module with arguments, checks its exit status, and returns its output."""

    def call(*arguments: str | Path, status: int = 0) -> str:
        command = [sys.executable, "-m", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=ROOT)
        assert done.returncode == status, done.stdout + done.stderr[-2000:]
        return done.stdout

    return call


@pytest.fixture(scope="session")
def results(run: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of a short run of the benchmarks of docs/performance.md, by name, and their folder as ``path``."""
    folder = tmp_path_factory.mktemp("results")
    plan, int8 = find_plan(CLOSED), folder / "int8" / "engine.plan"
    photos = CalibrationImages(make_images(folder / "photos", 40))
    build(plan, int8, precision="int8", calibration_images=photos, min_agreement=0.0)
    short = ("--rounds", "1", "--count", "3")
    run("benchmarks.cpu.peers", plan, "--int8", int8, *short, "--json", folder / "peers.json")
    return {**{path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}, "path": folder}
