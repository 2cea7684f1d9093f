"""Runs of the benchmarks from the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.common import ROOT


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Runs a module with arguments, checks its exit status, and returns its output."""

    def call(*arguments: str | Path, status: int = 0) -> str:
        command = [sys.executable, "-m", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=600, check=False, cwd=ROOT
        )
        assert done.returncode == status, done.stdout + done.stderr[-2000:]
        return done.stdout

    return call
