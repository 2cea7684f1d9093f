"""A tiny but real PVLR network, its bundle, images, clips, RTSP cameras, a fake TensorRT, and a separate cache."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pvlr_sdk import Tagger

NAMES = ["person", "cat", "coffee cup", "rocket", "dining table"]
WIDTH, HEIGHT, STRIDE, DEPTH = 40, 32, 8, 8
ROWS, COLUMNS, ALPHA = HEIGHT // STRIDE, WIDTH // STRIDE, 1.5


@dataclass
class Weights:
    """The tiny network's parameters; ``logits`` is its definition in float64, independent of any runtime."""

    kernel: np.ndarray
    labels: np.ndarray
    bias: np.ndarray

    def forward(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(3, H, W) -> logits (C,), similarity (N, C)."""
        patches = image.astype(np.float64).reshape(3, ROWS, STRIDE, COLUMNS, STRIDE)
        features = np.maximum(
            np.einsum("irykx,diyx->rkd", patches, self.kernel.astype(np.float64)), 0
        )
        similarity = features.reshape(ROWS * COLUMNS, DEPTH) @ self.labels
        weights = np.exp(ALPHA * (similarity - similarity.max(0)))
        return (weights / weights.sum(0) * similarity).sum(0) + self.bias, similarity


@dataclass
class Exported:
    """An exported network: ``onnx`` with its label bank beside it."""

    onnx: Path
    weights: Weights


def _network(
    folder: Path, *, names: list[str], seed: int, spec: dict[str, Any] | None, **changes: Any
) -> Exported:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from pvlr_sdk.bundle.bundle import labels_path
    from pvlr_sdk.bundle.label_bank import LabelBank

    random = np.random.default_rng(seed)
    count = len(names)
    weights = Weights(
        random.normal(0, 0.15, (DEPTH, 3, STRIDE, STRIDE)).astype(np.float32),
        random.normal(0, 1, (DEPTH, count)).astype(np.float32),
        random.normal(0, 0.5, count).astype(np.float32),
    )
    if changes.get("broken"):
        weights.bias[0] = np.nan
    image, logits = changes.get("input_name", "image"), changes.get("output_name", "logits")
    constants = {
        "kernel": weights.kernel,
        "labels": weights.labels,
        "bias": weights.bias,
        "alpha": np.float32(ALPHA),
        "shape": np.array([0, DEPTH, -1]),
        "one": np.array([1]),
    }
    nodes = [
        helper.make_node("Conv", [image, "kernel"], ["convolved"], strides=[STRIDE, STRIDE]),
        helper.make_node("Relu", ["convolved"], ["features"]),
        helper.make_node("Reshape", ["features", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["tokens", "labels"], ["similarity"]),
        helper.make_node("Mul", ["similarity", "alpha"], ["sharpened"]),
        helper.make_node("Softmax", ["sharpened"], ["attention"], axis=1),
        helper.make_node("Mul", ["attention", "similarity"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "one"], ["pooled"], keepdims=0),
        helper.make_node("Add", ["pooled", "bias"], [logits]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(image, TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["batch", count]),
            helper.make_tensor_value_info(
                "similarity", TensorProto.FLOAT, ["batch", ROWS * COLUMNS, count]
            ),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    description = {
        "format": 1,
        "name": "tiny",
        "input": {
            "width": WIDTH,
            "height": HEIGHT,
            "resize": changes.get("resize", "stretch"),
            "mean": [127, 127, 127],
            "std": [128, 128, 128],
        },
        "attention": {"rows": ROWS, "columns": COLUMNS, "alpha": ALPHA},
        "fp32_until": changes.get("fp32_until"),
        "source": {"checkpoint": "made by the tests"},
    }
    if spec is not None:
        description = spec
    if description:
        helper.set_model_props(model, {"pvlr": json.dumps(description)})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(model, path)
    embeddings = random.normal(0, 1, (count, 16)).astype(np.float16)
    thresholds = np.linspace(0.3, 0.6, count).astype(np.float32)
    LabelBank(names, embeddings, thresholds, {"encoder": "none"}).save(labels_path(path))
    return Exported(path, weights)


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests out of the user's cache of compiled networks, and out of the states of the user's sites."""
    folders = {
        "PVLR_CACHE_DIR": tmp_path_factory.mktemp("cache"),
        "XDG_STATE_HOME": tmp_path_factory.mktemp("state"),
    }
    before = {name: os.environ.get(name) for name in folders}
    for name, folder in folders.items():
        folder.chmod(0o700)
        os.environ[name] = str(folder)
    yield
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="session")
def make_network() -> Callable[..., Exported]:
    """Writes an ONNX network and its label bank into a folder.

    ``spec`` replaces its metadata, {} leaves it out; ``resize``, ``fp32_until``, ``input_name``, ``output_name``
    and ``broken`` (NaN in the logits) change the network.
    """

    def make(
        folder: Path,
        *,
        names: list[str] = NAMES,
        seed: int = 0,
        spec: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Exported:
        return _network(folder, names=names, seed=seed, spec=spec, **changes)

    return make


@pytest.fixture(scope="session")
def exported(
    make_network: Callable[..., Exported], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """The tiny network as the training package exports it."""
    return make_network(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def plan(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network's plan; tests that change it use ``own_plan``."""
    from pvlr_sdk.workshop.compile.build import build

    path = tmp_path_factory.mktemp("plan") / "engine.plan"
    build(exported.onnx, path)
    return path


@pytest.fixture(scope="session")
def plans(make_network: Callable[..., Exported], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of bundles: ``first`` and ``second`` with the same labels, ``order`` with another order of them, and
    ``other`` with one more."""
    from pvlr_sdk.workshop.compile.build import build

    folder = tmp_path_factory.mktemp("plans")
    kinds = {
        "first": (NAMES, 0),
        "second": (NAMES, 7),
        "other": ([*NAMES, "dog"], 1),
        "order": (NAMES[::-1], 2),
    }
    for name, (names, seed) in kinds.items():
        build(
            make_network(folder / "networks" / name, names=names, seed=seed).onnx,
            folder / name / "engine.plan",
        )
    return folder


@pytest.fixture
def own_plan(plan: Path, tmp_path: Path) -> Path:
    """A copy of the plan that a test may change."""
    folder = tmp_path / "own"
    shutil.copytree(plan.parent, folder)
    return folder / plan.name


@pytest.fixture
def two_points(own_plan: Path) -> Path:
    """The same plan with the thresholds of a second operating point: 0.7, 0.8, 0.9, 0.95, 0.6."""
    from pvlr_sdk.bundle.bundle import write_thresholds
    from pvlr_sdk.models.find import load_bundle

    bundle = load_bundle(own_plan)
    write_thresholds(bundle, bundle.labels.thresholds, np.float32([0.7, 0.8, 0.9, 0.95, 0.6]))
    return own_plan


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A public-domain photo, uint8 (512, 512, 3) BGR."""
    skimage_data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(skimage_data.astronaut()[:, :, ::-1])


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``clip.avi``, whose frame i is a gray of ``step`` times i."""
    import cv2

    def make(count: int, *, step: int, fps: float = 10.0, size: tuple[int, int] = (64, 48)) -> Path:
        path = tmp_path / "clip.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
        for index in range(count):
            writer.write(np.full((size[1], size[0], 3), step * index, np.uint8))
        writer.release()
        return path

    return make


@pytest.fixture(scope="session")
def tagger(plan: Path) -> Iterator[Tagger]:
    """The tiny network in fp32."""
    from pvlr_sdk import Tagger

    with Tagger(plan, precision="fp32") as made:
        yield made


def _load(path: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module or package beside this file, freshly imported."""
    file = Path(__file__).parent / path
    name = file.parent.name if file.stem == "__init__" else file.stem
    for old in [old for old in sys.modules if old.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, old)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rtsp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Starts RTSP cameras; they end with the test."""
    module = _load("cameras/stream/rtsp_camera.py", monkeypatch)
    if not module.has_rtsp_server():
        pytest.skip("GStreamer's RTSP server is not installed (see rtsp_server.py)")
    cameras: list[Any] = []

    def start(*arguments: str) -> Any:
        cameras.append(module.RtspCamera(*arguments))
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.kill()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A FakeCuda."""
    return _load("fakes/fake_cuda.py", monkeypatch).FakeCuda()


@pytest.fixture
def trt(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The fake ``tensorrt`` on that GPU, importable."""
    from pvlr_sdk.backends.tensorrt import driver

    fake = _load("fakes/fake_tensorrt/__init__.py", monkeypatch)
    fake.world.cuda = gpu
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setenv("PVLR_ALLOW_UNSIGNED", "1")  # plans are built in the tests
    monkeypatch.setitem(driver._open, "cuda", gpu)
    return fake


@pytest.fixture
def plugin_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin library of version 1, which :func:`pvlr_sdk.backends.tensorrt.plugins.find` returns."""
    from pvlr_sdk.backends.tensorrt import plugins

    path = tmp_path / "libpvlr_plugins.so"
    path.write_bytes(b"plugins")
    monkeypatch.setattr(plugins, "find", lambda *_: "1")
    return path
