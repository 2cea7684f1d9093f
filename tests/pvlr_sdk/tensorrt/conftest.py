"""A fake TensorRT on a fake GPU, in the place where the SDK looks for the real ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pvlr_sdk.backends.tensorrt import cuda as cuda_module

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    """A helper beside this file, freshly imported."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpu() -> Any:
    """A FakeCuda."""
    return load("fake_cuda").FakeCuda()


@pytest.fixture
def trt(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The fake ``tensorrt`` on that GPU, importable."""
    fake = load("fake_tensorrt")
    fake.world.cuda = gpu
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setitem(cuda_module._open, "cuda", gpu)
    return fake


@pytest.fixture
def plugin_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin library of version 1, as far as :func:`pvlr_sdk.tensorrt.plugins.find` can see."""
    from pvlr_sdk.tensorrt import plugins

    path = tmp_path / "libpvlr_plugins.so"
    path.write_bytes(b"plugins")
    found = plugins.PluginLibrary(path, "0" * 64, "1", "10.3", "12.6", ("8.7",))
    monkeypatch.setattr(plugins, "find", lambda *_, **__: found)
    return path


@pytest.fixture
def make_plan(trt: ModuleType, exported: Any, tmp_path: Path) -> Any:
    """Writes a TensorRT bundle of the tiny network, whose ``tensorrt`` section a test may change."""
    from pvlr_sdk import golden
    from pvlr_sdk.bundle import labels_path, write_bundle
    from pvlr_sdk.exported import read_spec
    from pvlr_sdk.labels import LabelBank
    from pvlr_sdk.preprocess import Preprocessor

    def make(*, payload: bytes | None = None, onnx: bytes | None = None, **changes: Any) -> Path:
        onnx = exported.onnx.read_bytes() if onnx is None else onnx
        spec = read_spec(exported.onnx.read_bytes(), str(exported.onnx))
        bank = LabelBank.load(labels_path(exported.onnx))
        frame = golden.picture()
        logits = exported.weights.forward(Preprocessor(spec.input)(frame, "bgr"))[0]
        section = {
            "version": "10.3.0",
            "capability": "8.7",
            "gpu": "Fake Orin",
            "machine": __import__("platform").machine(),
            "batch": [1, 1, 4],
            "attention": "native",
        } | changes
        path = tmp_path / "gpu" / "engine.plan"
        write_bundle(
            path,
            trt.plan(onnx) if payload is None else payload,
            bank,
            {
                "name": "tiny",
                "backend": "tensorrt",
                "precision": "fp16",
                "tensorrt": section,
                "input": spec.input.model_dump(mode="json"),
                "attention": spec.attention.model_dump(mode="json"),
                "labels": [
                    {"name": n, "threshold": float(t)} for n, t in zip(bank.names, bank.thresholds, strict=True)
                ],
                "golden": {
                    "frame_png": golden.encode(frame),
                    "logits": [float(value) for value in logits],
                    "tolerance": {"fp16": 1e-3},
                },
                "built": {"onnx": "model.onnx"},
            },
        )
        return path

    return make


@pytest.fixture
def gpu_plan(make_plan: Any) -> Path:
    """A TensorRT bundle that runs on the fake."""
    return make_plan()


class OnGpu:
    """An array on the fake GPU, as other libraries show theirs; ``how`` is ``interface`` or ``dlpack``."""

    def __init__(self, gpu: Any, array: np.ndarray) -> None:
        self.array, self._gpu = array, gpu
        base = array if array.base is None else array.base
        with gpu.current():
            start = gpu.malloc(base.nbytes)
        import ctypes

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
def facts() -> SimpleNamespace:
    """Room for what a test wants to remember."""
    return SimpleNamespace()
