"""Opening sources: the test pattern, invalid options, missing devices, GStreamer."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import errors, open_source
from tests.pvlr_sdk.cameras.sources.frames import read_all
from tests.waiting import LONG

ROOT = Path(__file__).parents[4]
SYSTEM_PYTHON = "/usr/bin/python3"


class TestPattern:
    def test_depends_on_the_seed_and_the_number_alone(self) -> None:
        uri = "test://?size=64x48&fps=500&frames=3&seed="
        first, again, other = (read_all(open_source(uri + seed)) for seed in "112")
        assert len(first) == 3
        for one, two, three in zip(first, again, other, strict=True):
            np.testing.assert_array_equal(one.pixels, two.pixels)
            assert (one.pixels != three.pixels).any()
        assert (first[0].pixels != first[1].pixels).any()

    def test_keeps_its_pace(self) -> None:
        source = open_source("test://?size=64x48&fps=50")
        frames = [source.read() for _ in range(25)]
        assert 0.9 * 24 / 50 < frames[-1].captured - frames[0].captured < LONG

    def test_freezes(self) -> None:
        source = open_source("test://?size=64x48&fps=100&freeze_after=1", timeout=0.2)
        source.read()
        with pytest.raises(errors.SourceLostError, match="none for"):
            source.read()

    def test_close_ends_a_read(self) -> None:
        source = open_source("test://?freeze_after=0", timeout=60)
        threading.Timer(0.1, source.close).start()
        with pytest.raises(errors.SourceLostError):
            source.read()


@pytest.mark.parametrize(
    "options", [{"transport": "smoke"}, {"timeout": 0}, {"timeout": float("nan")}]
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(errors.OptionError):
        open_source("test://", **options)


@pytest.mark.parametrize("uri", ["v4l2:///dev/video99", "99"])
def test_a_device_that_is_not_there(uri: str) -> None:
    with pytest.raises(errors.SourceOpenError, match="No such file"):
        open_source(uri)


@pytest.mark.slow
def test_gstreamer() -> None:
    """In the system's Python, which has GStreamer's bindings; see gstreamer_check.py."""
    check = Path(__file__).parent / "gstreamer_check.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [SYSTEM_PYTHON, str(check)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip(f"GStreamer's bindings are not installed: {done.stdout.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
