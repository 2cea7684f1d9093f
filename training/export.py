"""Checkpoint -> ONNX network and label bank, with the result compared with PyTorch."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxsim
import torch
from torch import nn

from pvlr_sdk._util.files import write_files
from pvlr_sdk.backends import runtimes
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.bundle.manifest import AttentionSpec, ModelSpec, OpenSpec
from pvlr_sdk.bundle.open_labels import label_inputs
from pvlr_sdk.bundle.schema import FEATURES, IMAGE, LOGITS, SIMILARITY
from pvlr_sdk.errors import ModelError, OptionError
from pvlr_sdk.workshop.compile.onnx.edit import store_half

from .checkpoint import load_model
from .config import Config
from .deploy import DeployedPVLR, OpenPVLR
from .model.network import PVLR
from .model.prompts import knowledge_prompts

onnxruntime = runtimes.onnxruntime()

OPSET = 17
"""LayerNormalization is one operator since opset 17; decomposed, it overflows in fp16."""

_TOLERANCE = 2e-3

_FIRST_BLOCK = "/backbone/blocks/blocks.0/"  # the exporter's name for timm's first block


def export(
    checkpoint: Path,
    out: Path,
    size: tuple[int, int] | None = None,
    *,
    max_labels: int | None = None,
) -> Path:
    """Write ``model.onnx`` and ``model.labels.safetensors`` into the folder ``out``; returns the path of the network.

    ``size`` is another input size than that of training, (width, height) in pixels; the files are then called
    ``model-WIDTHxHEIGHT.*``, or ``model-SIDE.*`` for a square.

    The network takes ``image`` float32 (batch, 3, H, W) and gives ``logits`` (batch, C) and ``similarity``
    (batch, N, C). Matrices and filters are stored as float16 without loss, because they are already rounded.

    With ``max_labels`` the network is open, and its file ends in ``-open.onnx``: it also takes the inputs of
    :func:`pvlr_sdk.bundle.open_labels.label_inputs` and gives ``features`` (batch, D), and C is ``max_labels``.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ModelError: the exported network and PyTorch disagree.
        OptionError: the backbone cannot take ``size``; the model has more labels than ``max_labels``, or its head
            cannot be open.
        OutputError: the files cannot be written.
    """
    model, config, extra = load_model(checkpoint)
    name = "model"
    if size is not None:
        config, extra = resize(model, config, extra, size)
        name += f"-{size[0]}" if size[0] == size[1] else f"-{size[0]}x{size[1]}"
    deployed = DeployedPVLR(model)
    bank = label_bank(deployed, config, extra["thresholds"], extra.get("precise_thresholds"))
    traced: DeployedPVLR | OpenPVLR = deployed
    spec = None
    labels = dict[str, np.ndarray]()
    if max_labels is not None:
        traced = OpenPVLR(deployed, model.text)
        bank, spec = open_bank(bank, traced, config, max_labels)
        labels = label_inputs(bank, spec)
    payload = describe(to_onnx(traced, config, labels), deployed, config, extra, spec)
    difference = check(payload, traced, config, labels)
    if not difference < _TOLERANCE:
        raise ModelError(
            "export", f"logits within {_TOLERANCE} of PyTorch", f"{difference:.2g}", "Report this."
        )
    path = out / (f"{name}.onnx" if spec is None else f"{name}-open.onnx")
    write_files({path: payload, path.with_suffix(".labels.safetensors"): bank.to_bytes()})
    return path


def resize(
    model: PVLR, config: Config, extra: dict[str, Any], size: tuple[int, int]
) -> tuple[Config, dict[str, Any]]:
    """Let a trained model take another input size; returns configuration and checkpoint data for it."""
    width, height = size
    trained = config.data.input
    if size == (trained.width, trained.height):
        return config, extra
    model.resize(height, width)
    spec = trained.model_copy(update={"width": width, "height": height})
    data = config.data.model_copy(update={"input": spec})
    # The metrics of the held-out images are those of the size of training.
    extra = {**extra, "holdout": None, "trained_size": [trained.width, trained.height]}
    return config.model_copy(update={"data": data}), extra


def open_bank(
    bank: LabelBank, model: OpenPVLR, config: Config, max_labels: int
) -> tuple[LabelBank, OpenSpec]:
    """The label bank of an open network, and what its description says of the banks that it can use.

    Raises:
        OptionError: there are more labels than room.
    """
    if len(bank) > max_labels:
        raise OptionError(
            "--max-labels",
            f"at least {len(bank)}",
            str(max_labels),
            "There must be room for the labels that it was trained with.",
        )
    space = (
        config.model.text.encoder
        if model.reads_words
        else f"{config.name} {bank.text['sha256'][:16]}"
    )
    rows = model.bank.half().numpy()
    biases = model.biases.numpy().astype(np.float32)
    width = model.backbone.channels
    features = f"{config.model.backbone} {digest(model.backbone)[:16]}"
    spec = OpenSpec(
        max_labels=max_labels,
        width=rows.shape[1],
        space=space,
        feature_width=width,
        features=features,
    )
    text = {**bank.text, "space": space}
    return LabelBank(
        bank.names, rows, bank.thresholds, text, bank.precise_thresholds, biases=biases
    ), spec


def digest(module: nn.Module) -> str:
    """SHA-256 of a module's weights, in hex."""
    found = hashlib.sha256()
    for name, weights in module.state_dict().items():
        found.update(name.encode() + weights.numpy().tobytes())
    return found.hexdigest()


def to_onnx(
    model: DeployedPVLR | OpenPVLR, config: Config, labels: Mapping[str, np.ndarray] | None = None
) -> onnx.ModelProto:
    """Trace the deployed network and simplify it; ``labels`` are the further inputs of an open one."""
    spec = config.data.input
    labels = labels or {}
    outputs = [LOGITS, SIMILARITY, FEATURES] if labels else [LOGITS, SIMILARITY]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter renames nodes without a benefit here.
        warnings.simplefilter("ignore", DeprecationWarning)
        # The number of labels is constant, and so is the choice that it makes in attention.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            model,
            (torch.zeros(2, 3, spec.height, spec.width), *map(torch.from_numpy, labels.values())),
            buffer,
            opset_version=OPSET,
            input_names=[IMAGE, *labels],
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (IMAGE, *outputs)},
            dynamo=False,
        )
    network, ok = onnxsim.simplify(onnx.load_from_string(buffer.getvalue()))
    if not ok:
        raise ModelError(
            "export", "the same outputs after simplifying", "other outputs", "Report this."
        )
    return network


def describe(
    network: onnx.ModelProto,
    model: DeployedPVLR,
    config: Config,
    extra: dict[str, Any],
    open_spec: OpenSpec | None = None,
) -> bytes:
    """Serialise the network with its metadata, weights in float16; ``open_spec`` for an open one."""
    store_half(network.graph)
    front = fp32_until(network) if model.backbone.front else None  # a ViT also has a first block
    spec = _spec(model, config, extra, front).model_copy(update={"open": open_spec})
    onnx.helper.set_model_props(network, {"pvlr": spec.to_json()})
    network.producer_name = "pvlr_training"
    onnx.checker.check_model(network)
    return network.SerializeToString()


def check(
    payload: bytes,
    model: DeployedPVLR | OpenPVLR,
    config: Config,
    labels: Mapping[str, np.ndarray] | None = None,
) -> float:
    """Largest logit difference between ONNX Runtime and torch fp32 on random inputs of batch 1 and 3.

    ``labels`` are the further inputs of an open network.
    """
    labels = labels or {}
    session = onnxruntime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    spec = config.data.input
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in (1, 3):
        images = torch.randn(batch, 3, spec.height, spec.width, generator=generator)
        with torch.inference_mode():
            expected = model(images, *map(torch.from_numpy, labels.values()))
        for mine, theirs in zip(
            session.run(None, {IMAGE: images.numpy(), **labels}), expected, strict=True
        ):
            worst = max(worst, float(np.abs(mine - theirs.numpy()).max()))
    return worst


def label_bank(
    model: DeployedPVLR, config: Config, thresholds: list[float], precise: list[float] | None
) -> LabelBank:
    """The folded text branch with label names, thresholds (``precise``: None in a run of an older version) and
    provenance."""
    text: dict[str, Any] = {
        "encoder": config.model.text.encoder,
        "prompts": knowledge_prompts(config.data.labels, config.model.text)[0],
    }
    if config.model.head == "pvlr":
        text |= {"cap": config.model.cap.model_dump(mode="json"), "ifm": config.model.ifm}
    else:
        text["unused by"] = config.model.head
    bank = model.bank.half().numpy()
    digest = hashlib.sha256(json.dumps(text, sort_keys=True).encode() + bank.tobytes()).hexdigest()
    return LabelBank(
        config.data.labels,
        bank,
        np.array(thresholds, np.float32),
        {**text, "sha256": digest},
        None if precise is None else np.array(precise, np.float32),
    )


def fp32_until(network: onnx.ModelProto) -> str | None:
    """The output tensor of ``Backbone.front``; None for a network without one."""
    outputs = [node.output[0] for node in network.graph.node if node.name.startswith(_FIRST_BLOCK)]
    return outputs[-1] if outputs else None


def _spec(
    model: DeployedPVLR, config: Config, extra: dict[str, Any], fp32_until: str | None
) -> ModelSpec:
    rows, columns = model.grid
    return ModelSpec(
        name=config.name,
        input=config.data.input,
        attention=AttentionSpec(rows=rows, columns=columns, alpha=model.head.alpha),
        fp32_until=fp32_until,
        source={
            "backbone": config.model.backbone,
            "head": config.model.head,
            "text_encoder": config.model.text.encoder,
            "holdout": extra["holdout"],
            **{key: extra[key] for key in ("trained_size",) if key in extra},
            "torch": torch.__version__,
            "opset": OPSET,
        },
    )
