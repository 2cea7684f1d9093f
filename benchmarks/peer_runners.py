"""The peers of ``peers.py``: each is a function from a BGR frame to the scores of all labels, preprocessing included.

All compute what the same trained model says; what each does before and after the network is what its own documentation
shows, or what one writes by hand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openvino

from pvlr_sdk import Tagger
from pvlr_sdk.bundle import Bundle
from pvlr_sdk.manifest import InputSpec
from pvlr_sdk.preprocess import Preprocessor

Scores = np.ndarray
Run = Callable[[np.ndarray], Scores]


@dataclass(frozen=True)
class Setting:
    """What all peers share: the plan, its trained checkpoint (if at hand), a quantised plan (if at hand), threads."""

    bundle: Bundle
    checkpoint: Path | None
    int8: Path | None
    threads: int
    hint: str

    @property
    def spec(self) -> InputSpec:
        return self.bundle.manifest.input


def sigmoid(logits: np.ndarray) -> Scores:
    return 1 / (1 + np.exp(-logits))


def prepare(frame: np.ndarray, spec: InputSpec, interpolation: int) -> np.ndarray:
    """What one writes by hand: resize, to RGB, normalise, to (1, 3, H, W) float32."""
    small = cv2.resize(frame, (spec.width, spec.height), interpolation=interpolation)
    mean, std = np.float32(spec.mean), np.float32(spec.std)
    rgb = (small[:, :, ::-1].astype(np.float32) - mean) / std
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))[None]


def ours(setting: Setting, precision: str | None = None, plan: Path | None = None) -> Run:
    """``Tagger.predict`` with its tags read, as a user does."""
    tagger = Tagger(plan or setting.bundle.path, num_threads=setting.threads, precision=precision)

    def run(frame: np.ndarray) -> Scores:
        result = tagger.predict(frame)
        _ = result.tags
        return result.scores

    return run


def hand_written(setting: Setting, interpolation: int) -> Run:
    """cv2, NumPy and raw OpenVINO on the same payload with the same options."""
    request = compile_payload(setting).create_infer_request()

    def run(frame: np.ndarray) -> Scores:
        request.infer({0: prepare(frame, setting.spec, interpolation)})
        return sigmoid(request.get_tensor("logits").data[0])

    return run


def model_api(setting: Setting) -> Run:
    """OpenVINO Model API's multi-label classification, resizing and normalising inside the network, as it does."""
    from model_api.adapters import OpenvinoAdapter
    from model_api.models import ClassificationModel

    spec, labels = setting.spec, [label.name for label in setting.bundle.manifest.labels]
    core = openvino.Core()
    network = core.read_model(setting.bundle.payload)
    network.reshape([1, 3, spec.height, spec.width])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(openvino.Model([network.output("logits")], network.get_parameters()), path)
        adapter = OpenvinoAdapter(core, str(path), device="CPU", plugin_config=_options(setting))
        model = ClassificationModel(
            adapter,
            {
                "multilabel": True,
                "labels": [str(index) for index in range(len(labels))],
                "confidence_threshold": 0.0,  # all scores, to compare them
                "mean_values": list(spec.mean),
                "scale_values": list(spec.std),
                "reverse_input_channels": True,
                "resize_type": "standard",
            },
            preload=True,
        )

    def run(frame: np.ndarray) -> Scores:
        scores = np.zeros(len(labels), np.float32)
        for label in model(frame).top_labels:
            scores[label.id] = label.confidence
        return scores

    return run


def onnx_runtime(setting: Setting, payload: bytes) -> Run:
    """ONNX Runtime on the CPU with cv2 and NumPy around it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])

    def run(frame: np.ndarray) -> Scores:
        image = prepare(frame, setting.spec, cv2.INTER_AREA)
        return sigmoid(session.run(["logits"], {"image": image})[0][0])

    return run


def torch_model(setting: Setting, *, compiled: bool) -> Run:
    """The trained model in PyTorch fp32, eager or through torch.compile, after our preprocessing."""
    import torch

    from pvlr_training.checkpoint import load_model
    from pvlr_training.deploy import DeployedPVLR

    assert setting.checkpoint is not None
    torch.set_num_threads(setting.threads)
    model = DeployedPVLR(load_model(setting.checkpoint)[0])
    network = torch.compile(model) if compiled else model
    preprocess = Preprocessor(setting.spec)

    def run(frame: np.ndarray) -> Scores:
        with torch.inference_mode():
            return network(torch.from_numpy(preprocess(frame, "bgr"))[None]).logits.sigmoid().numpy()[0]

    return run


def compile_payload(setting: Setting) -> openvino.CompiledModel:
    core = openvino.Core()
    network = core.read_model(setting.bundle.payload)
    network.reshape([1, 3, setting.spec.height, setting.spec.width])
    return core.compile_model(network, "CPU", _options(setting))


def _options(setting: Setting) -> dict[str, object]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": setting.hint,
        "INFERENCE_NUM_THREADS": setting.threads,
    }
