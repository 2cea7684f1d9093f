"""Preprocessing on one thread: the compiled core compared with OpenCV and NumPy, by frame size and pixel layout.

    python -m benchmarks.cpu.preprocess [--size 288]

OpenCV and NumPy: cv2.cvtColor where the layout needs it, cv2.resize(INTER_AREA), then normalise and transpose.
"""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
import typer

from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.frames.preprocess import Preprocessor

from ..common import Json, conditions, interleaved, run, save
from . import tables

FRAMES = [(640, 480), (1280, 720), (1920, 1080), (3840, 2160)]
TO_RGB = {
    "bgr": cv2.COLOR_BGR2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "gray": cv2.COLOR_GRAY2RGB,
    "nv12": cv2.COLOR_YUV2RGB_NV12,
}


def main(
    size: Annotated[int, typer.Option(help="Width and height of the network's input.")] = 288,
    rounds: Annotated[int, typer.Option(help="Rounds of ten calls of each.")] = 20,
    out: Json = None,
) -> None:
    """Time the compiled preprocessing, OpenCV and NumPy."""
    cv2.setNumThreads(1)
    spec = InputSpec(width=size, height=size, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
    preprocess = Preprocessor(spec)
    result = np.empty((3, size, size), np.float32)
    rows = []
    for width, height in FRAMES:
        for order in TO_RGB:
            frame = make_frame(width, height, order)
            cases = {
                "ours": lambda f=frame, o=order: preprocess(f, o, result),
                "by hand": lambda f=frame, o=order: prepare(f, o, spec),
            }
            samples = interleaved(cases, rounds, calls=10, warm_up=0.05)
            ours, by_hand = (float(np.median(samples[name])) for name in cases)
            rows.append({"width": width, "height": height, "layout": order, "ours_ms": ours, "by_hand_ms": by_hand})
    data = {"conditions": {**conditions(1), "size": size}, "medians": rows}
    tables.preprocess(data).print()
    save(out, data)


def make_frame(width: int, height: int, order: str) -> np.ndarray:
    """Noise of the layout's shape, uint8."""
    shape = {"bgr": (height, width, 3), "bgra": (height, width, 4), "nv12": (height * 3 // 2, width)}
    return np.random.default_rng(0).integers(0, 256, shape.get(order, (height, width)), np.uint8)


def prepare(frame: np.ndarray, order: str, spec: InputSpec) -> np.ndarray:
    """Preprocessing without the SDK, to (3, H, W) float32; resized before the colours change, where possible."""
    if order == "nv12":
        frame = cv2.cvtColor(frame, TO_RGB[order])
    small = cv2.resize(frame, (spec.width, spec.height), interpolation=cv2.INTER_AREA)
    if order != "nv12":
        small = cv2.cvtColor(small, TO_RGB[order])
    normalised = (small.astype(np.float32) - np.float32(spec.mean)) / np.float32(spec.std)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


if __name__ == "__main__":
    run(main)
