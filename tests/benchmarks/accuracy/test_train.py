"""The command that trains the rows of the accuracy page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common import ROOT


@pytest.mark.slow
def test_an_error_of_the_sdk_is_one_message(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs the extra [train]")
    command = [sys.executable, "-m", "benchmarks.accuracy", "train", "pvlr", "--again", "--out", str(tmp_path)]
    without = {key: value for key, value in os.environ.items() if key != "PVLR_DATA"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=ROOT, env=without)
    message = "error: images: expected a path, got $PVLR_DATA/voc2007/images. Set the environment variable first.\n"
    assert (done.returncode, done.stderr) == (2, message)
