"""TensorRT-RTX builds engines from exported networks for three GPU generations, on a machine without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "tensorrt_rtx", reason="TensorRT-RTX has wheels for Linux and Windows on x86 only"
)
pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

FP32, INT8, INT64, FP16, BF16 = (1, 3, 7, 10, 16)
"""Values of TensorProto.DataType."""
SCRIPT = Path(__file__).with_name("tensorrt_build.py")
# Size, and the precision that is also built with a fixed batch. Lite0 and Lite2 are shipped; the other two have the
# operators of the paper's ResNet-101 and ViT-B in a fraction of the time. What is open is the head, which all share.
MODELS = {
    "tf_efficientnet_lite0": (224, "int8"),
    "tf_efficientnet_lite2": (288, "fp16"),
    "resnet26": (224, "bf16"),
    "vit_tiny_patch16_224": (224, "fp32"),
}


def run(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", str(SCRIPT), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )


@pytest.mark.slow
@pytest.mark.parametrize("backbone", MODELS)
def test_engines_are_built(backbone: str) -> None:
    size, static = MODELS[backbone]
    is_open = backbone == "tf_efficientnet_lite2"
    done = run("build", backbone, str(size), static, *(["open"] if is_open else []), timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    engines: dict[str, dict[str, Any]] = report["engines"]
    assert set(engines) == {"fp32", "fp16", "bf16", "int8"}
    main = {"fp32": FP32, "fp16": FP16, "bf16": BF16, "int8": INT8}
    allowed = {
        "fp32": {FP32},
        "fp16": {FP32, FP16},
        "bf16": {FP32, FP16, BF16},
        "int8": {FP32, FP16, INT8},
    }
    for precision, engine in engines.items():
        assert main[precision] in engine["types"]
        assert set(engine["types"]) - {INT64} <= allowed[precision]
        assert engine["dynamic"] > 1_000_000
    assert report["static"] > 1_000_000
    if is_open:
        assert report["open"] > 1_000_000
        # of keys, values, mask, gains, biases and weights, those that the model has
        assert report["inputs"] > 3
        assert report["closed"] > 1_000_000
    # Half the bytes per weight; an int8 engine may keep several layouts.
    assert engines["fp16"]["dynamic"] < 0.75 * engines["fp32"]["dynamic"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "wanted"),
    [
        ("operator", ["Unheard 'planted'", "Plugin not found", "--attention native"]),
        ("bias", ["DequantizeLinear 'planted", "Int32", "--precision int8"]),
        ("garbage", ["model.onnx", "damaged"]),
    ],
)
def test_what_tensorrt_refuses_is_one_error_with_the_way_out(
    tmp_path: Path, plant: str, wanted: list[str]
) -> None:
    (tmp_path / "model.onnx").write_bytes(planted(plant))
    done = run("parse", str(tmp_path / "model.onnx"), timeout=120)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("pvlr_sdk.errors.UnsupportedNodeError: ")
    for part in wanted:
        assert part in last


def planted(kind: str) -> bytes:
    """A network with one node that TensorRT rejects."""
    if kind == "garbage":
        return b"no network"
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    constants = {
        "w": weight,
        "b": np.arange(4, dtype=np.int32),
        "s": np.float32(0.1),
        "z": np.int32(0),
    }
    nodes = [helper.make_node("Conv", ["image", "w"], ["y"], "conv")]
    if kind == "operator":
        nodes.append(helper.make_node("Unheard", ["y"], ["out"], "planted", domain="pvlr"))
    else:
        nodes[0].input.append("bias")
        nodes[0].output[0] = "out"
        nodes.insert(0, helper.make_node("DequantizeLinear", ["b", "s", "z"], ["bias"], "planted"))
    ports = [
        helper.make_tensor_value_info(name, 1, shape)
        for name, shape in (("image", (1, 3, 8, 8)), ("out", (1, 4, 6, 6)))
    ]
    tensors = [
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    ]
    graph = helper.make_graph(nodes, "planted", ports[:1], ports[1:], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("pvlr", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
