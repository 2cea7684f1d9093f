"""Time of networks that other projects tag or classify images with, beside the shipped ones: the network alone.

    python -m benchmarks.cpu.rivals [--precision fp32] [--json benchmarks/results/rivals.json]

Architectures come from timm, with random weights and 80 outputs, which take the same time as trained ones. All run in
OpenVINO with the same threads and precision. The accuracy is what their projects publish for COCO, on its 5,000
validation images, with heads and recipes of their own; that of the shipped plans is measured here on 539 images.
"""

from __future__ import annotations

import io
import json
from typing import Annotated, Any, NamedTuple

import typer

from pvlr_sdk.backends import open_backend
from pvlr_sdk.models.find import load_bundle

from ..common import (
    RESULTS,
    Case,
    Json,
    Table,
    Threads,
    conditions,
    interleaved,
    run,
    save,
    summarise,
)
from .peer_runners import compile_network


class Rival(NamedTuple):
    """A network of timm at an input size; ``coco`` is the mAP on COCO that its project publishes."""

    name: str
    architecture: str
    size: int
    coco: float | None = None


RIVALS = (
    Rival("PP-LCNet_x1_0 (PaddleX)", "lcnet_100", 448, 77.96),
    Rival("PP-HGNetV2-B0 (PaddleX)", "hgnetv2_b0", 448, 80.98),
    Rival("PP-HGNetV2-B4 (PaddleX)", "hgnetv2_b4", 448, 87.96),
    Rival("MobileNetV4 conv small", "mobilenetv4_conv_small", 224),
    Rival("MobileNetV4 conv medium", "mobilenetv4_conv_medium", 256),
    Rival("EfficientNet-Lite0", "tf_efficientnet_lite0", 224),
    Rival("EfficientNet-Lite2", "tf_efficientnet_lite2", 260),
)
SHIPPED = "pvlr-lite0-open", "pvlr-lite2-open", "pvlr-lite2-open-448"


def main(
    precision: Annotated[str, typer.Option(help="bf16 or fp32, of all networks.")] = "bf16",
    threads: Threads = 2,
    rounds: Annotated[int, typer.Option(help="Rounds of five calls of each.")] = 40,
    out: Json = None,
) -> None:
    """Time the networks of other projects beside the shipped ones."""
    facts: dict[str, dict[str, Any]] = {}
    cases: dict[str, Case] = {}
    for name in SHIPPED:
        bundle = load_bundle(name)
        accuracy = json.loads((RESULTS / f"eval-{name}-on-COCO_testdev.json").read_text())
        facts[name] = {"size": bundle.manifest.input.width, "coco": accuracy["mAP"]}
        slot = open_backend(bundle, precision=precision, num_threads=threads).acquire()
        cases[name] = lambda slot=slot: (slot.start(), slot.wait())
    for rival in RIVALS:
        payload, parameters = network(rival)
        facts[rival.name] = {"size": rival.size, "coco": rival.coco, "parameters": parameters}
        compiled = compile_network(payload, threads, precision)
        cases[rival.name] = compiled.create_infer_request().infer
    figures = summarise(interleaved(cases, rounds))
    rows = {name: {**facts[name], **figures[name]} for name in facts}
    found = {**conditions(threads, "timm"), "precision": precision}
    data = {"conditions": found, "figures": dict(sorted(rows.items(), key=_milliseconds))}
    table(data).print()
    save(out, data)


def network(rival: Rival) -> tuple[bytes, int]:
    """Its ONNX network with random weights, and the number of its parameters."""
    import timm
    import torch

    model = timm.create_model(rival.architecture, num_classes=80).eval()
    image = torch.zeros(1, 3, rival.size, rival.size)
    buffer = io.BytesIO()
    names = {"input_names": ["image"], "output_names": ["logits"]}
    torch.onnx.export(model, (image,), buffer, dynamo=False, **names)
    return buffer.getvalue(), sum(weights.numel() for weights in model.parameters())


def table(data: dict[str, Any]) -> Table:
    rows = [
        [
            name,
            f"{row['size']}",
            f"{row['median_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            "-" if row["coco"] is None else f"{row['coco']:.1f}",
        ]
        for name, row in data["figures"].items()
    ]
    return Table("", ["Network", "Input", "Median, ms", "p99, ms", "mAP on COCO"], rows)


def _milliseconds(row: tuple[str, dict[str, Any]]) -> float:
    return row[1]["median_ms"]


if __name__ == "__main__":
    run(main)
