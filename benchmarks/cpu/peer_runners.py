"""The peers of ``peers.py``: functions from a BGR frame to the scores of all labels, preprocessing included.

All run the same trained model, each in the way that its documentation shows, or as one writes it by hand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pvlr_sdk import Tagger
from pvlr_sdk.backends import runtimes
from pvlr_sdk.backends.openvino import supports_bf16
from pvlr_sdk.backends.openvino.graph import fold_constants
from pvlr_sdk.bundle.bundle import Bundle
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.frames.preprocess import Preprocessor

openvino = runtimes.openvino()

Scores = np.ndarray
Run = Callable[[np.ndarray], Scores]


@dataclass(frozen=True)
class Setting:
    """What all peers share; the checkpoint and the int8 plan of the same model are optional."""

    bundle: Bundle
    checkpoint: Path | None
    int8: Path | None
    threads: int
    precision: str

    @property
    def spec(self) -> InputSpec:
        return self.bundle.manifest.input


def read(payload: bytes) -> openvino.Model:
    """The ONNX network of a plan for batch size 1."""
    network = openvino.Core().read_model(payload)
    network.reshape(
        [1, *(size.get_length() for size in list(network.input().get_partial_shape())[1:])]
    )
    fold_constants(network)
    return network


def options(threads: int, precision: str = "bf16") -> dict[str, Any]:
    """Options for low latency; fp32 where the CPU does not support bf16."""
    hint = "f32" if precision == "fp32" or not supports_bf16(openvino.Core()) else "bf16"
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
    }


def compile_network(
    payload: bytes, threads: int, precision: str = "bf16"
) -> openvino.CompiledModel:
    """The compiled network with :func:`options`."""
    return openvino.Core().compile_model(read(payload), "CPU", options(threads, precision))


def sigmoid(logits: np.ndarray) -> Scores:
    return 1 / (1 + np.exp(-logits))


def prepare(frame: np.ndarray, spec: InputSpec, interpolation: int) -> np.ndarray:
    """Preprocessing without the SDK: resize, to RGB, normalise, to (1, 3, H, W) float32."""
    small = cv2.resize(frame, (spec.width, spec.height), interpolation=interpolation)
    mean = np.float32(spec.mean)
    std = np.float32(spec.std)
    rgb = (small[:, :, ::-1].astype(np.float32) - mean) / std
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))[None]


def ours(setting: Setting, precision: str | None = None, plan: Path | None = None) -> Run:
    """``Tagger.predict``, and the tags of its result."""
    tagger = Tagger(plan or setting.bundle.path, num_threads=setting.threads, precision=precision)

    def run(frame: np.ndarray) -> Scores:
        result = tagger.predict(frame)
        _ = result.tags
        return result.scores

    return run


def hand_written(setting: Setting, interpolation: int) -> Run:
    """cv2, NumPy and raw OpenVINO on the same payload with the same options."""
    request = compile_network(
        setting.bundle.payload, setting.threads, setting.precision
    ).create_infer_request()

    def run(frame: np.ndarray) -> Scores:
        request.infer({0: prepare(frame, setting.spec, interpolation)})
        return sigmoid(request.get_tensor("logits").data[0])

    return run


def model_api(setting: Setting) -> Run:
    """Multi-label classification of OpenVINO Model API, which resizes and normalises inside the network."""
    from model_api.adapters import OpenvinoAdapter
    from model_api.models import ClassificationModel

    spec = setting.spec
    count = len(setting.bundle.manifest.labels)
    network = read(setting.bundle.payload)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(
            openvino.Model([network.output("logits")], network.get_parameters()), path
        )
        config = options(setting.threads, setting.precision)
        adapter = OpenvinoAdapter(openvino.Core(), str(path), device="CPU", plugin_config=config)
        model = ClassificationModel(
            adapter,
            {
                "multilabel": True,
                "labels": [str(index) for index in range(count)],
                "confidence_threshold": 0.0,  # all scores, to compare them
                "mean_values": list(spec.mean),
                "scale_values": list(spec.std),
                "reverse_input_channels": True,
                "resize_type": "standard",
            },
            preload=True,
        )

    def run(frame: np.ndarray) -> Scores:
        scores = np.zeros(count, np.float32)
        for label in model(frame).top_labels:
            scores[label.id] = label.confidence
        return scores

    return run


def onnx_runtime(setting: Setting, payload: bytes) -> Run:
    """ONNX Runtime on the CPU with cv2 and NumPy around it."""
    onnxruntime = runtimes.onnxruntime()

    config = onnxruntime.SessionOptions()
    config.intra_op_num_threads = setting.threads
    config.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(payload, config, providers=["CPUExecutionProvider"])

    def run(frame: np.ndarray) -> Scores:
        image = prepare(frame, setting.spec, cv2.INTER_AREA)
        return sigmoid(session.run(["logits"], {"image": image})[0][0])

    return run


def torch_model(setting: Setting, *, compiled: bool, precision: str = "fp32") -> Run:
    """The trained model in PyTorch, eager or through torch.compile, after the SDK's preprocessing. bf16 is autocast."""
    import torch

    from pvlr_training.checkpoint import load_model
    from pvlr_training.deploy import DeployedPVLR

    assert setting.checkpoint is not None
    torch.set_num_threads(setting.threads)
    model = DeployedPVLR(load_model(setting.checkpoint)[0])
    network = torch.compile(model) if compiled else model
    preprocess = Preprocessor(setting.spec)

    def run(frame: np.ndarray) -> Scores:
        image = torch.from_numpy(preprocess(frame, "bgr"))[None]
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        ):
            logits = network(image).logits
        return sigmoid(logits.float().numpy()[0])

    return run
