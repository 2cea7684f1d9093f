"""The compiled core: its argument checks, and the error if it is missing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest


def test_core_checks_for_itself() -> None:
    from pvlr_sdk import _core

    good = {"out": np.zeros((3, 4, 4), np.float32), "scale": [1.0] * 3, "bias": [0.0] * 3, "pad": [0.0] * 3}
    frame = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    _core.preprocess(frame, "bgr", region=(0, 0, 4, 4), **good)
    for change, message in [
        ({"region": (0, 0, 5, 4)}, "region"),
        ({"region": (0, -1, 4, 4)}, "region"),
        ({"pixels": frame[:, :, 0]}, "pixels"),
        ({"order": "cmyk"}, "order"),
        ({"scale": [1.0, float("nan"), 1.0]}, "scale"),
        ({"out": np.zeros((3, 4, 8), np.float32)[:, :, ::2]}, "out"),
        ({"out": np.zeros((4, 4, 4), np.float32)[:, :, :3].transpose(2, 0, 1)}, "out"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.preprocess(**{"pixels": frame, "order": "bgr", "region": (0, 0, 4, 4), **good, **change})
    with pytest.raises(TypeError, match="uint8"):
        _core.preprocess(frame.astype(np.int16), "bgr", region=(0, 0, 4, 4), **good)


def test_import_without_the_core() -> None:
    script = """
import sys
sys.modules["pvlr_sdk._core"] = None
import numpy as np
from pvlr_sdk import errors
from pvlr_sdk.backends.openvino import read_network
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.models.find import default_plan
preprocessor = Preprocessor(InputSpec(width=8, height=8, mean=(0, 0, 0), std=(1, 1, 1)))
for call in (
    lambda: preprocessor(np.zeros((4, 4, 3), np.uint8), "bgr"),
    lambda: read_network(default_plan().read_bytes(), "engine.plan"),  # no network is loaded unchecked
):
    try:
        call()
    except errors.MissingPartError as error:
        assert "pip install" in str(error)
    else:
        raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", script], check=True)
