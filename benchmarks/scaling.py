"""What does cost grow with? Labels, tokens, resolution, batch, threads, streams; PVLR networks with random weights.

    python benchmarks/scaling.py [--json FILE]

Needs the extra [train]. The head is timed alone where labels and tokens grow, the whole network (EfficientNet-Lite2)
elsewhere. Prints the exponent of each curve between its ends: 1 is linear growth, below it cost grows more slowly.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import openvino
import torch
import typer
from common import Case, conditions, interleaved, print_table, summarise, write_json
from torch import Tensor, nn

from pvlr_sdk.backends.openvino import supports_bf16
from pvlr_training.backbone import Backbone
from pvlr_training.config import ModelConfig
from pvlr_training.deploy import fold_batch_norm
from pvlr_training.heads import open_head

LABELS = (20, 80, 320, 1280, 4585)
TOKENS = (7, 9, 14, 20, 28)
SIDES = (192, 256, 288, 384, 448)
BATCHES = (1, 2, 4, 8)


def main(
    threads: Annotated[int, typer.Option(help="Threads at most.")] = 2,
    rounds: Annotated[int, typer.Option(help="Rounds of five calls of each.")] = 10,
    short: Annotated[bool, typer.Option(help="Only the ends of each curve, on a small backbone: a test run.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
) -> None:
    """Time each curve, its points in turn."""
    curves: dict[str, dict[int, Case]] = {}
    ends = slice(None, None, 4) if short else slice(None)
    curves["labels C (head alone, 81 tokens)"] = {c: _run(head(c, 9), threads) for c in LABELS[ends]}
    curves["tokens N (head alone, 80 labels)"] = {n * n: _run(head(80, n), threads) for n in TOKENS[ends]}
    sides = (64, 128) if short else SIDES
    curves["input pixels"] = {side * side: _run(network(side), threads) for side in sides}
    side = sides[0] if short else 288
    payload = network(side)
    curves["batch"] = {batch: _run(payload, threads, batch) for batch in (BATCHES[:2] if short else BATCHES)}
    curves["threads"] = {count: _run(payload, count) for count in range(1, threads + 1)}
    curves["streams, one thread each"] = {count: _streams(payload, count) for count in range(1, threads + 1)}
    tables: dict[str, Any] = {}
    for name, cases in curves.items():
        named = {str(value): case for value, case in cases.items()}
        figures = summarise(interleaved(named, rounds, warm_up=0.1 if short else 0.3))
        first, last = min(cases), max(cases)
        growth = figures[str(last)]["median_ms"] / figures[str(first)]["median_ms"]
        exponent = math.log(growth) / math.log(last / first) if last > first else 0.0
        rows = [[value, f"{v['median_ms']:.3f}"] for value, v in figures.items()]
        print_table(f"{name}: cost grows with its power {exponent:.2f}", ["", "median ms"], rows)
        tables[name] = {"figures": figures, "exponent": round(exponent, 3)}
    write_json(out, {"conditions": conditions(threads, "torch", "timm"), "curves": tables})


class _Head(nn.Module):
    """A head over a fixed label bank, as it is deployed."""

    def __init__(self, labels: int, side: int) -> None:
        super().__init__()
        config = ModelConfig(pretrained=False)
        self.channels = 1280
        self.head = open_head(self.channels, (side, side), labels, config).eval()
        self.register_buffer("bank", torch.randn(labels, config.width))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(tokens, self.bank).logits


class _Network(nn.Module):
    """Lite2 and a head of 80 labels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.backbone = Backbone("tf_efficientnet_lite2", False).eval()
        fold_batch_norm(self.backbone)
        self.rest = _Head(80, self.backbone.grid(side, side)[0])

    def forward(self, images: Tensor) -> Tensor:
        return self.rest(self.backbone(images))


def head(labels: int, side: int) -> bytes:
    """The ONNX network of a head alone: tokens (batch, side * side, 1280) -> logits."""
    module = _Head(labels, side)
    return _export(module, torch.zeros(1, side * side, module.channels))


def network(side: int) -> bytes:
    """The ONNX network for images of side * side pixels."""
    return _export(_Network(side).eval(), torch.zeros(1, 3, side, side))


def _export(module: nn.Module, example: Tensor) -> bytes:
    buffer = io.BytesIO()
    axes = {"dynamic_axes": {"in": {0: "batch"}, "logits": {0: "batch"}}, "opset_version": 17, "dynamo": False}
    with torch.no_grad():
        torch.onnx.export(module, (example,), buffer, input_names=["in"], output_names=["logits"], **axes)
    return buffer.getvalue()


def _compile(payload: bytes, threads: int, batch: int, streams: int) -> openvino.CompiledModel:
    core = openvino.Core()
    model = core.read_model(payload)
    model.reshape([batch, *(size.get_length() for size in list(model.input().get_partial_shape())[1:])])
    hint = "bf16" if supports_bf16(core) else "f32"
    options = {"NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
    return core.compile_model(model, "CPU", options)


def _run(payload: bytes, threads: int, batch: int = 1) -> Case:
    request = _compile(payload, threads, batch, 1).create_infer_request()
    noise = np.random.default_rng(0).normal(size=list(request.get_input_tensor().shape)).astype(np.float32)
    request.set_input_tensor(openvino.Tensor(noise))
    return request.infer


def _streams(payload: bytes, count: int) -> Case:
    """``count`` inferences at once."""
    compiled = _compile(payload, count, 1, count)
    requests = [compiled.create_infer_request() for _ in range(count)]

    def run() -> None:
        for request in requests:
            request.start_async()
        for request in requests:
            request.wait()

    return run


if __name__ == "__main__":
    typer.run(main)
