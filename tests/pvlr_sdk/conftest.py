"""A tiny but real PVLR network, its bundle, pictures, a real RTSP camera; every test's cache is a folder of its own."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NAMES = ["person", "cat", "coffee cup", "rocket", "dining table"]
WIDTH, HEIGHT, STRIDE, DEPTH = 40, 32, 8, 8
ROWS, COLUMNS, ALPHA = HEIGHT // STRIDE, WIDTH // STRIDE, 1.5
SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_SERVER = Path(__file__).parent / "stream" / "rtsp_server.py"


@dataclass
class Weights:
    """The tiny network's parameters; ``logits`` is its definition in float64, independent of any runtime."""

    kernel: np.ndarray
    labels: np.ndarray
    bias: np.ndarray

    def forward(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(3, H, W) -> logits (C,), similarity (N, C)."""
        patches = image.astype(np.float64).reshape(3, ROWS, STRIDE, COLUMNS, STRIDE)
        features = np.maximum(np.einsum("irykx,diyx->rkd", patches, self.kernel.astype(np.float64)), 0)
        similarity = features.reshape(ROWS * COLUMNS, DEPTH) @ self.labels
        weights = np.exp(ALPHA * (similarity - similarity.max(0)))
        return (weights / weights.sum(0) * similarity).sum(0) + self.bias, similarity


@dataclass
class Exported:
    """An exported network: ``onnx`` with its label bank beside it."""

    onnx: Path
    weights: Weights


def _network(folder: Path, *, names: list[str], seed: int, spec: dict[str, Any] | None, **changes: Any) -> Exported:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from pvlr_sdk.bundle import labels_path
    from pvlr_sdk.labels import LabelBank

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
            helper.make_tensor_value_info("similarity", TensorProto.FLOAT, ["batch", ROWS * COLUMNS, count]),
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
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests out of the user's cache of compiled networks."""
    before = os.environ.get("PVLR_CACHE_DIR")
    folder = tmp_path_factory.mktemp("cache")
    folder.chmod(0o700)
    os.environ["PVLR_CACHE_DIR"] = str(folder)
    yield
    os.environ.pop("PVLR_CACHE_DIR")
    if before is not None:
        os.environ["PVLR_CACHE_DIR"] = before


@pytest.fixture(scope="session")
def make_network() -> Callable[..., Exported]:
    """Writes an ONNX network and its label bank into a folder.

    ``spec`` replaces its metadata, {} leaves it out; ``resize``, ``fp32_until``, ``input_name``, ``output_name``
    and ``broken`` (NaN in the logits) change the network.
    """

    def make(
        folder: Path, *, names: list[str] = NAMES, seed: int = 0, spec: dict[str, Any] | None = None, **changes: Any
    ) -> Exported:
        return _network(folder, names=names, seed=seed, spec=spec, **changes)

    return make


@pytest.fixture(scope="session")
def exported(make_network: Callable[..., Exported], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The tiny network as training's export would leave it."""
    return make_network(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def plan(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network's plan; don't change it, take ``own_plan`` for that."""
    from pvlr_sdk.build import build

    path = tmp_path_factory.mktemp("plan") / "engine.plan"
    build(exported.onnx, path)
    return path


@pytest.fixture
def own_plan(plan: Path, tmp_path: Path) -> Path:
    """A copy of the plan that a test may damage."""
    folder = tmp_path / "own"
    shutil.copytree(plan.parent, folder)
    return folder / plan.name


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A public-domain photo, uint8 (512, 512, 3) BGR."""
    skimage_data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(skimage_data.astronaut()[:, :, ::-1])


@functools.cache
def _has_rtsp_server() -> bool:
    code = (
        "import gi, numpy; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
    )
    code += "Gst.init(None); assert Gst.ElementFactory.find('x264enc')"
    try:
        return subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class RtspCamera:
    """The server of ``rtsp_server.py`` at an address that stays the same when it is killed and started again."""

    def __init__(self, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None
        self.start(*arguments)

    def uri(self, credentials: str = "") -> str:
        return f"rtsp://{credentials}127.0.0.1:{self._port}/cam"

    def start(self, *arguments: str) -> None:
        command = [SYSTEM_PYTHON, str(RTSP_SERVER), "--port", str(self._port), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def resize(self, size: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"size {size}\n")
        self._process.stdin.flush()

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def rtsp() -> Iterator[Callable[..., RtspCamera]]:
    """Starts RTSP cameras; they end with the test."""
    if not _has_rtsp_server():
        pytest.skip("GStreamer's RTSP server is not installed (see rtsp_server.py)")
    cameras: list[RtspCamera] = []

    def start(*arguments: str) -> RtspCamera:
        cameras.append(RtspCamera(*arguments))
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.kill()
