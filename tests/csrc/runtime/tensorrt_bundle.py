"""TensorRT bundles for the fake TensorRT, and what the fake network computes, in NumPy."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.bundle.bundle import Bundle, describe_all, write_bundle
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.bundle.manifest import (
    AttentionSpec,
    GoldenSpec,
    InputSpec,
    LabelSpec,
    Manifest,
    TensorRtSpec,
)
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.inference import golden

NAMES = ("cat", "dog", "car", "bus", "tree")
TOKENS = 6
INPUT = InputSpec(width=32, height=24, mean=(120.0, 115.0, 100.0), std=(60.0, 57.0, 58.0))
ATTENTION = AttentionSpec(rows=2, columns=3, alpha=4.0)
PLAN = f"""FAKE
image in float 4 -1 3 {INPUT.height} {INPUT.width}
logits out float 2 -1 {len(NAMES)}
similarity out float 3 -1 {TOKENS} {len(NAMES)}
"""


def network(
    frame: NDArray[np.uint8], color: str = "bgr"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits (C,) and similarity (N, C) of a frame; see fake_tensorrt/nvinfer.cpp."""
    planes = Preprocessor(INPUT)(frame, color).reshape(3, -1).astype(np.float64)
    feature = (planes * (1 + np.arange(planes.shape[1]) % 5)).mean(axis=1)[
        np.arange(len(NAMES)) % 3
    ]
    label = np.arange(len(NAMES))
    logits = 0.1 * (label + 1) * feature + 0.05 * label - 0.2
    similarity = 0.01 * np.arange(TOKENS)[:, None] * (label + 1) + 0.1 * feature
    return logits, similarity


def write_plan(path: Path, version: str, plan: str | bytes = PLAN, /, **changes: Any) -> Path:
    """Write a bundle for the fake GPU, with changes of the manifest's section ``tensorrt``."""
    payload = plan.encode() if isinstance(plan, str) else plan
    thresholds = np.full(len(NAMES), 0.5, np.float32)
    bank = LabelBank(NAMES, np.ones((len(NAMES), 4), np.float16), thresholds)
    section = {
        "version": version,
        "capability": "8.7",
        "gpu": "Fake Orin",
        "multiprocessors": 16,
        "machine": platform.machine(),
        "batch": (1, 1, 4),
    } | changes
    frame = golden.default_frame()
    manifest = Manifest(
        name="fake",
        backend="tensorrt",
        precision="fp16",
        tensorrt=TensorRtSpec(**section),
        input=INPUT,
        attention=ATTENTION,
        labels=tuple(LabelSpec(name=name, threshold=0.5) for name in NAMES),
        golden=GoldenSpec(
            frame_png=golden.encode(frame),
            logits=tuple(network(frame)[0]),
            tolerance={"fp16": 1e-4},
        ),
        files=describe_all(payload, bank),
    )
    write_bundle(Bundle(path, manifest, payload, bank))
    return path
