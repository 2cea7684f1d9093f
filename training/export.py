"""Checkpoint -> ONNX network and label bank: the text branch folded away, checked against torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxsim
import torch
from onnx import numpy_helper

from pvlr_sdk.errors import ModelError
from pvlr_sdk.files import write_files
from pvlr_sdk.labels import LabelBank
from pvlr_sdk.manifest import AttentionSpec, ModelSpec

from .checkpoint import load_model
from .config import Config
from .deploy import DeployedPVLR
from .prompts import knowledge_prompts

OPSET = 17
"""LayerNormalization is one operator from opset 17 on; taken apart it overflows in fp16."""

_TOLERANCE = 2e-3

_FIRST_BLOCK = "/backbone/blocks/blocks.0/"  # as the exporter names timm's first block


def export(checkpoint: Path, out: Path) -> Path:
    """Write ``model.onnx`` and ``model.labels.safetensors`` into the folder ``out``; returns the path of the network.

    The network takes ``image`` float32 (batch, 3, H, W) and gives ``logits`` (batch, C) and ``similarity``
    (batch, N, C). Matrices and filters are stored as float16, which loses nothing: they were rounded before.

    Raises:
        CheckpointError: no checkpoint there, or a damaged one.
        ModelError: the exported network does not say what torch says.
        OutputError: the files can't be written.
    """
    model, config, extra = load_model(checkpoint)
    deployed = DeployedPVLR(model)
    payload = describe(store_half(to_onnx(deployed, config)), deployed, config, extra)
    difference = check(payload, deployed, config)
    if not difference < _TOLERANCE:
        raise ModelError(
            "export", expected=f"logits within {_TOLERANCE} of torch", got=f"{difference:.2g}", hint="Report this."
        )
    bank = label_bank(deployed, config, extra["thresholds"])
    path = out / "model.onnx"
    write_files({path: payload, path.with_suffix(".labels.safetensors"): bank.to_bytes()})
    return path


def to_onnx(model: DeployedPVLR, config: Config) -> onnx.ModelProto:
    """Trace the deployed network and simplify it."""
    import io
    import warnings

    spec = config.data.input
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter renames and rewrites more than it gains here.
        warnings.simplefilter("ignore", DeprecationWarning)
        # How many labels there are is fixed in the network, and with it whether they are updated in blocks.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            model,
            (torch.zeros(2, 3, spec.height, spec.width),),
            buffer,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits", "similarity"],
            dynamic_axes={name: {0: "batch"} for name in ("image", "logits", "similarity")},
            dynamo=False,
        )
    network, ok = onnxsim.simplify(onnx.load_from_string(buffer.getvalue()))
    if not ok:
        raise ModelError("export", expected="a network that simplifies", got="different outputs", hint="Report this.")
    return network


def describe(network: onnx.ModelProto, model: DeployedPVLR, config: Config, extra: dict[str, Any]) -> bytes:
    """The network as a file that says what it is."""
    front = fp32_until(network) if model.backbone.front else None  # a ViT has a first block too, but none that is exact
    _set_metadata(network, _spec(model, config, extra, front))
    onnx.checker.check_model(network)
    return network.SerializeToString()


def store_half(network: onnx.ModelProto) -> onnx.ModelProto:
    """Store every initializer that float16 holds without loss as float16, with a Cast back to float32 behind it."""
    graph = network.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if values.size < 1024 or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
    return network


def check(payload: bytes, model: DeployedPVLR, config: Config) -> float:
    """Largest logit difference between ONNX Runtime and torch fp32 on random inputs of batch 1 and 3."""
    import onnxruntime

    session = onnxruntime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    spec = config.data.input
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in (1, 3):
        images = torch.randn(batch, 3, spec.height, spec.width, generator=generator)
        with torch.inference_mode():
            expected = model(images)
        for mine, theirs in zip(session.run(None, {"image": images.numpy()}), expected, strict=True):
            worst = max(worst, float(np.abs(mine - theirs.numpy()).max()))
    return worst


def label_bank(model: DeployedPVLR, config: Config, thresholds: list[float]) -> LabelBank:
    """The folded text branch with its names, thresholds and what made it."""
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
    return LabelBank(config.data.labels, bank, np.array(thresholds, np.float32), {**text, "sha256": digest})


def fp32_until(network: onnx.ModelProto) -> str | None:
    """The tensor behind ``Backbone.front``; None for a network without one."""
    outputs = [node.output[0] for node in network.graph.node if node.name.startswith(_FIRST_BLOCK)]
    return outputs[-1] if outputs else None


def _spec(model: DeployedPVLR, config: Config, extra: dict[str, Any], fp32_until: str | None) -> ModelSpec:
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
            "torch": torch.__version__,
            "opset": OPSET,
        },
    )


def _set_metadata(network: onnx.ModelProto, spec: ModelSpec) -> None:
    del network.metadata_props[:]
    entry = network.metadata_props.add()
    entry.key, entry.value = "pvlr", spec.model_dump_json()
    network.producer_name = "pvlr_training"
