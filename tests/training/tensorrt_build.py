"""Builds TensorRT-RTX engines of one exported model, ahead of time and without a GPU, or parses a network.

    python tensorrt_build.py build BACKBONE SIZE PRECISION [open]
    python tensorrt_build.py parse MODEL.onnx

Run it in a separate process: TensorRT may terminate it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import tensorrt_rtx as trt
import torch

from pvlr_sdk.backends.openvino.labels import compile_labels, project
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.bundle.manifest import OpenSpec
from pvlr_sdk.bundle.open_labels import label_inputs
from pvlr_sdk.workshop.compile.exported import read_exported, read_spec
from pvlr_sdk.workshop.compile.onnx.convert import convert
from pvlr_sdk.workshop.compile.onnx.splitting import split
from pvlr_sdk.workshop.compile.tensorrt.compiler import set_batch
from pvlr_sdk.workshop.compile.tensorrt.parse import parse
from pvlr_sdk.workshop.compile.tensorrt_options import Batch, BuildOptions
from pvlr_training.config import Config
from pvlr_training.deploy import DeployedPVLR, OpenPVLR
from pvlr_training.export import describe, label_bank, open_bank, to_onnx
from pvlr_training.model.network import PVLR

sys.modules["tensorrt"] = trt  # for set_batch
CAPABILITIES = ("SM86", "SM89", "SM120")
LABELS = ("person", "cat", "dog", "car", "chair")


def exported(backbone: str, size: int, max_labels: int | None = None) -> tuple[bytes, LabelBank]:
    """A model with random weights as ``pvlr export`` writes it, open if it has room for ``max_labels``."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    torch.manual_seed(0)
    spec = {"width": size, "height": size, "mean": [127] * 3, "std": [64] * 3}
    stage = {"epochs": 1, "batch": 1, "lr": 1e-3}
    config = Config.model_validate(
        {
            "name": backbone,
            "model": {"backbone": backbone, "pretrained": False, "text": {"encoder": "random"}},
            "data": {
                "input": spec,
                "labels": LABELS,
                "sources": [{"images": ".", "labels": "x", "splits": ["train"]}],
            },
            "train": {"head": stage, "finetune": stage},
        }
    )
    model = PVLR(LABELS, size, size, config.model).eval()
    deployed = DeployedPVLR(model)
    bank = label_bank(deployed, config, [0.5] * len(LABELS), None)
    if max_labels is None:
        return describe(to_onnx(deployed, config), deployed, config, {"holdout": {}}), bank
    opened = OpenPVLR(deployed, model.text)
    bank, room = open_bank(bank, opened, config, max_labels)
    network = to_onnx(opened, config, label_inputs(bank, room))
    return describe(network, deployed, config, {"holdout": {}}, room), bank


def closed(payload: bytes, bank: LabelBank) -> bytes:
    """The network of ``pvlr build --bank``."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(payload)
        bank.save(path.with_name("bank.safetensors"))
        return read_exported(path, path.with_name("bank.safetensors")).network.payload


def parsed(payload: bytes) -> tuple[Any, Any]:
    """Builder and network."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parse(trt, network, logger, payload, "model.onnx")
    return builder, network


def build(payload: bytes, batch: str) -> int:
    """Build an engine for all capabilities; returns its size in bytes. ``batch`` as for ``pvlr build``."""
    builder, network = parsed(payload)
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(CAPABILITIES)
    for index, name in enumerate(CAPABILITIES):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    set_batch(builder, network, config, BuildOptions(Batch.parse(batch)))
    engine: Any = builder.build_serialized_network(network, config)
    return 0 if engine is None else engine.nbytes


def check_ports(payload: bytes, room: OpenSpec, projections: dict[str, Any]) -> int:
    """Compare what TensorRT finds of the part for frames with what the backend expects; returns the inputs."""
    _, network = parsed(payload)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    assert inputs[0].name == "image"
    assert {one.name: tuple(one.shape) for one in inputs[1:]} == {
        name: a.shape for name, a in projections.items()
    }
    assert {one.name: one.shape[-1] for one in outputs} == {
        "logits": room.max_labels, "similarity": room.max_labels, "features": room.feature_width,
    }  # fmt: skip
    assert {one.dtype for one in (*inputs, *outputs)} == {trt.DataType.FLOAT}
    return len(inputs)


def build_open(backbone: str, size: int) -> dict[str, int]:
    """Engines of an open network and of the one that is closed with a label bank."""
    opened, bank = exported(backbone, size, max_labels=16)
    labels, rest = split(opened, "model.onnx")
    room = read_spec(opened, "model.onnx").open
    assert room is not None
    network = convert(rest, precision="fp16")
    return {
        "open": build(network, "1:1:8"),
        "inputs": check_ports(
            network, room, project(compile_labels(labels, "model.onnx"), bank, room, "bank")
        ),
        "closed": build(
            convert(closed(opened, bank.select(LABELS[1:4])), precision="fp16"), "1:1:8"
        ),
    }


def build_all(backbone: str, size: int, static: str, *kinds: str) -> None:
    """Engines of each precision for 1 to 8 images, and of ``static`` also for a fixed batch; prints their sizes.

    ``kinds``: "open" for engines of the open network and of the one closed with a label bank too.
    """
    began = time.perf_counter()
    payload, _ = exported(backbone, size)
    report: dict[str, Any] = {"export_s": round(time.perf_counter() - began, 1), "engines": {}}
    frames = list(np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8))
    for precision in ("fp32", "fp16", "bf16", "int8"):
        began = time.perf_counter()
        network = convert(payload, precision=precision, frames=frames)
        converted = time.perf_counter()
        types = {tensor.data_type for tensor in onnx.load_from_string(network).graph.initializer}
        if precision == static:
            report["static"] = build(network, "2")
        report["engines"][precision] = {
            "dynamic": build(network, "1:1:8"),
            "types": sorted(types),
            "convert_s": round(converted - began, 1),
            "build_s": round(time.perf_counter() - converted, 1),
        }
    if "open" in kinds:
        report |= build_open(backbone, size)
    print(json.dumps(report))


if __name__ == "__main__":
    if sys.argv[1] == "parse":
        parsed(Path(sys.argv[2]).read_bytes())
    else:
        build_all(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
