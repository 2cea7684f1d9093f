"""Runs of the benchmarks from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import ROOT


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
    """The results of one short run of all benchmarks, by name, and their folder as ``path``."""
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("results")
    run("benchmarks", "--short", "--out", folder)
    return {**{path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}, "path": folder}
