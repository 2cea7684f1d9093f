"""Growth of cost with labels, tokens, resolution, batch, threads and streams; PVLR networks with random weights.

    python -m benchmarks.cpu.scaling

Needs the extra [train]. Labels and tokens are varied for the head alone, everything else for the whole network
(EfficientNet-Lite2). The exponent of a curve is taken between its ends: 1 is linear growth, less is slower growth.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from pvlr_sdk.backends import runtimes
from pvlr_training.deploy import fold_batch_norm
from pvlr_training.model.backbone import Backbone
from pvlr_training.model.config import ModelConfig
from pvlr_training.model.heads import open_head

from ..common import Case, Json, conditions, interleaved, run, save, summarise
from . import tables
from .engine import compile_network, to_onnx

openvino = runtimes.openvino()

LABELS = (20, 80, 320, 1280, 4585)
TOKENS = (7, 9, 14, 20, 28)
SIDES = (192, 256, 288, 384, 448)
BATCHES = (1, 2, 4, 8)
CHANNELS = 1280


def main(
    threads: Annotated[int, typer.Option(help="Largest number of threads.")] = 2,
    rounds: Annotated[int, typer.Option(help="Rounds of five calls of each.")] = 10,
    short: Annotated[bool, typer.Option(help="Test run: only the ends of each curve, on small images.")] = False,
    out: Json = None,
) -> None:
    """Time the points of each curve in turn."""
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
    measured: dict[str, Any] = {}
    for name, cases in curves.items():
        named = {str(value): case for value, case in cases.items()}
        figures = summarise(interleaved(named, rounds, warm_up=0.1 if short else 0.3))
        first, last = min(cases), max(cases)
        growth = figures[str(last)]["median_ms"] / figures[str(first)]["median_ms"]
        exponent = math.log(growth) / math.log(last / first) if last > first else 0.0
        measured[name] = {"figures": figures, "exponent": round(exponent, 3)}
    data = {"conditions": conditions(threads, "torch", "timm"), "curves": measured}
    tables.scaling(data).print()
    save(out, data)


class Head(nn.Module):
    """A deployed head with a fixed label bank: tokens (batch, side * side, CHANNELS) to logits."""

    def __init__(self, labels: int, side: int) -> None:
        super().__init__()
        config = ModelConfig(pretrained=False)
        self.head = open_head(CHANNELS, (side, side), labels, config).eval()
        self.register_buffer("bank", torch.randn(labels, config.width))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(tokens, self.bank).logits


def head(labels: int, side: int) -> bytes:
    """ONNX network of a head alone."""
    return to_onnx(Head(labels, side), side * side, CHANNELS)


def network(side: int) -> bytes:
    """ONNX network of EfficientNet-Lite2 and a head of 80 labels, for frames of side * side pixels."""
    backbone = Backbone("tf_efficientnet_lite2", False).eval()
    fold_batch_norm(backbone)
    return to_onnx(nn.Sequential(backbone, Head(80, backbone.resize(side, side)[0])).eval(), 3, side, side)


def _run(payload: bytes, threads: int, batch: int = 1) -> Case:
    request = compile_network(payload, threads, batch=batch, streams=1).create_infer_request()
    noise = np.random.default_rng(0).normal(size=list(request.get_input_tensor().shape)).astype(np.float32)
    request.set_input_tensor(openvino.Tensor(noise))
    return request.infer


def _streams(payload: bytes, count: int) -> Case:
    """``count`` inferences at once, one thread each."""
    compiled = compile_network(payload, count, streams=count)
    requests = [compiled.create_infer_request() for _ in range(count)]

    def infer() -> None:
        for request in requests:
            request.start_async()
        for request in requests:
            request.wait()

    return infer


if __name__ == "__main__":
    run(main)
