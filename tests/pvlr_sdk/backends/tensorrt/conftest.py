"""TensorRT bundles for the fake TensorRT, and frames on the fake GPU."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def make_plan(trt: ModuleType, exported: Any, tmp_path: Path) -> Any:
    """Writes a TensorRT bundle of the tiny network, whose ``tensorrt`` section a test may change."""
    from pvlr_sdk.bundle.bundle import Bundle, describe_all, labels_path, write_bundle
    from pvlr_sdk.bundle.label_bank import LabelBank
    from pvlr_sdk.bundle.manifest import GoldenSpec, LabelSpec, Manifest, TensorRtSpec
    from pvlr_sdk.frames.preprocess import Preprocessor
    from pvlr_sdk.inference import golden
    from pvlr_sdk.workshop.compile.exported import read_spec

    def make(*, payload: bytes | None = None, onnx: bytes | None = None, **changes: Any) -> Path:
        onnx = exported.onnx.read_bytes() if onnx is None else onnx
        spec = read_spec(exported.onnx.read_bytes(), str(exported.onnx))
        bank = LabelBank.load(labels_path(exported.onnx))
        frame = golden.default_frame()
        logits = exported.weights.forward(Preprocessor(spec.input)(frame, "bgr"))[0]
        section = {
            "version": "10.3.0",
            "capability": "8.7",
            "gpu": "Fake Orin",
            "machine": platform.machine(),
        }
        section |= {"batch": [1, 1, 4], "attention": "native", **changes}
        path, payload = (
            tmp_path / "gpu" / "engine.plan",
            trt.plan(onnx) if payload is None else payload,
        )
        manifest = Manifest(
            name="tiny",
            backend="tensorrt",
            precision="fp16",
            tensorrt=TensorRtSpec(**section),
            input=spec.input,
            attention=spec.attention,
            labels=[
                LabelSpec(name=n, threshold=t)
                for n, t in zip(bank.names, bank.thresholds, strict=True)
            ],
            golden=GoldenSpec(
                frame_png=golden.encode(frame), logits=list(logits), tolerance={"fp16": 1e-3}
            ),
            built={"onnx": "model.onnx"},
            files=describe_all(payload, bank),
        )
        write_bundle(Bundle(path, manifest, payload, bank))
        return path

    return make


@pytest.fixture
def gpu_plan(make_plan: Any) -> Path:
    """A TensorRT bundle that runs on the fake."""
    return make_plan()


class OnGpu:
    """An array on the fake GPU, with ``__cuda_array_interface__``."""

    def __init__(self, gpu: Any, array: np.ndarray) -> None:
        self.array, self._gpu = array, gpu
        base = array if array.base is None else array.base
        with gpu.current():
            start = gpu.malloc(base.nbytes)
        ctypes.memmove(start, base.ctypes.data, base.nbytes)
        self.pointer = start + array.ctypes.data - base.ctypes.data

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        contiguous = self.array.flags.c_contiguous
        return {
            "shape": self.array.shape,
            "typestr": self.array.dtype.str,
            "data": (self.pointer, False),
            "strides": None if contiguous else self.array.strides,
            "version": 3,
        }


@pytest.fixture
def on_gpu(gpu: Any) -> Any:
    """Puts an array on the fake GPU."""
    return lambda array: OnGpu(gpu, array)


@pytest.fixture
def random_frames() -> Any:
    """Makes so many random frames of different sizes."""

    def make(count: int) -> list[np.ndarray]:
        random = np.random.default_rng(0)
        return [
            random.integers(0, 256, (20 + n % 7, 30 + n % 5, 3), np.uint8) for n in range(count)
        ]

    return make


@pytest.fixture
def frame(random_frames: Any) -> np.ndarray:
    """One random frame."""
    return random_frames(1)[0]


@pytest.fixture
def true_logits(exported: Any) -> Any:
    """Computes a frame's logits by the network's definition in float64."""
    return lambda tagger, frame: exported.weights.forward(
        tagger._plan.inference.preprocess(frame, "bgr")
    )[0]


@pytest.fixture
def started() -> Any:
    """Starts a frame's inference from this thread and returns a function that waits for its result."""

    def start(tagger: Any, frame: np.ndarray) -> Any:
        plan, backend = tagger._ready()
        job = plan.inference._begin(backend, plan.inference._decode(frame, "bgr", None))
        return lambda: plan.inference.finish(backend, job, (plan.thresholds, None))

    return start
