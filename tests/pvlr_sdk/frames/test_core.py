"""The compiled core: its argument checks, and the error if it is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Box = tuple[int, int, int, int]


def test_core_checks_for_itself() -> None:
    from pvlr_sdk import _core

    frame = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    numbers = {"scale": [1.0] * 3, "bias": [0.0] * 3, "pad": [0.0] * 3, "threads": 1, "stream": 0}

    def preprocess(
        arrays: Sequence[NDArray[Any]] = (frame,),
        order: str = "bgr",
        crop: Box = (0, 0, 4, 4),
        region: Box = (0, 0, 4, 4),
        out: NDArray[Any] | None = None,
        **options: Any,
    ) -> None:
        tensors = [_core.Tensor.from_numpy(array) for array in arrays]
        target = np.zeros((1, 3, 4, 4), np.float32) if out is None else out
        _core.preprocess_batch(
            [(tensors, order, crop, region)], _core.Tensor.from_numpy(target), **numbers | options
        )

    def zeros(*shape: int) -> NDArray[np.uint8]:
        return np.zeros(shape, np.uint8)

    preprocess()
    read_only = np.zeros((1, 3, 4, 4), np.float32)
    read_only.setflags(write=False)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"region": (0, 0, 5, 4)}, "region"),
        ({"region": (0, -1, 4, 4)}, "region"),
        ({"crop": (1, 0, 4, 4)}, "crop"),
        ({"arrays": []}, "arrays"),
        ({"arrays": [frame, frame]}, "arrays"),
        ({"arrays": [frame[0, 0]]}, "arrays"),
        ({"arrays": [frame[:, :, 0]]}, "layout"),
        ({"arrays": [frame[:, ::2]]}, "layout"),
        ({"arrays": [frame.astype(np.int16)]}, "layout"),
        ({"arrays": [np.broadcast_to(frame[:1], frame.shape)]}, "pitches"),
        ({"arrays": [zeros(4, 4), zeros(2, 2)], "order": "nv12"}, "layout"),
        ({"arrays": [zeros(4, 4), zeros(1, 4)], "order": "nv12"}, "layout"),
        ({"arrays": [zeros(4, 4), zeros(2, 2), zeros(2, 1)], "order": "i420"}, "layout"),
        ({"arrays": [zeros(4, 4)], "order": "nv12"}, "even"),
        ({"arrays": [zeros(6, 3)], "order": "nv12"}, "even"),
        ({"arrays": [zeros(6, 4)[::-1]], "order": "i420"}, "contiguous"),
        ({"order": "cmyk"}, "order"),
        ({"order": "bgr-full"}, "order"),
        ({"scale": [1.0, float("nan"), 1.0]}, "scale"),
        ({"out": np.zeros((1, 3, 4, 8), np.float32)[:, :, :, ::2]}, "out"),
        ({"out": np.zeros((1, 4, 4, 4), np.float32)[:, :, :, :3].transpose(0, 3, 1, 2)}, "out"),
        ({"out": np.zeros((1, 4, 4, 3), np.float16).transpose(0, 3, 1, 2)}, "channels_last"),
        ({"out": np.zeros((2, 3, 4, 4), np.float32)}, "out"),
        ({"out": read_only}, "out"),
    ]
    for change, message in changes:
        with pytest.raises(ValueError, match=message):
            preprocess(**change)


@pytest.mark.slow
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
