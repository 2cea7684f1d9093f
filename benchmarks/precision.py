"""What the precisions that TensorRT builds from change: each against fp32, on photos, on any CPU.

    python benchmarks/precision.py models/pvlr-lite2-voc20/engine.plan --images $PVLR_DATA/voc2007/images \\
        --labels $PVLR_DATA/voc2007/labels.csv

Every result is rounded to the type that the graph gives it (docs/precision.md), which is slow. int8's ranges come from
the photos of --ranges. Prints one table and writes it as JSON. Needs the extra [int8].
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from common import conditions, print_table, write_json

from pvlr_sdk.bundle import Bundle
from pvlr_sdk.graph import check, convert
from pvlr_sdk.labels_csv import read_labels
from pvlr_sdk.precision import Photos


def main(
    plan: Annotated[Path, typer.Argument(help="An fp32 plan for CPUs: its payload is the exported network.")],
    images: Annotated[Path, typer.Option(help="Folder of photos.")],
    labels: Annotated[Path, typer.Option(help="What they show, as for pvlr eval.")],
    split: Annotated[str, typer.Option(help="The split to measure on.")] = "testdev",
    ranges: Annotated[str, typer.Option(help="The split that int8's ranges come from.")] = "train",
    count: Annotated[int, typer.Option(help="Photos to measure on.")] = 300,
    calibrate: Annotated[int, typer.Option(help="Photos for the ranges.")] = 200,
    precision: Annotated[list[str] | None, typer.Option(help="Only these.")] = None,
    attention: Annotated[str, typer.Option(help="native or fused.")] = "native",
    out: Annotated[Path | None, typer.Option("--json", help="Write the table here as well.")] = None,
) -> None:
    """Convert a network and hold each precision against fp32."""
    bundle = Bundle.open(plan)
    names = bundle.labels.names
    photos = Photos.listed(images, read_labels(labels, split, names), "--images").evenly(count)
    calibration = Photos.listed(images, read_labels(labels, ranges, names), "--images").evenly(calibrate).frames
    figures = {}
    for name in precision or ("fp16", "bf16", "int8"):
        began = time.perf_counter()
        payload = convert(bundle.payload, precision=name, attention=attention, frames=calibration, source=str(plan))
        agreement = check(payload, bundle.payload, photos.frames, bundle.labels.thresholds, photos.targets)
        figures[name] = {**agreement.to_dict(), "bytes": len(payload), "seconds": round(time.perf_counter() - began)}
    rows = [
        [
            name,
            f"{100 * row['tag_sets']:.1f} %",
            f"{row['largest_logit_difference']:.3f}",
            f"{row['mean_logit_difference']:.4f}",
            f"{row['mAP']:.2f} ({row['mAP_fp32']:.2f})",
        ]
        for name, row in figures.items()
    ]
    columns = ["precision", "same tags", "largest logit difference", "mean", "mAP (fp32)"]
    print_table(f"{bundle.manifest.name}, {len(photos.frames)} photos, {attention} attention", columns, rows)
    packages = ("onnx", "onnxruntime", "nncf")
    write_json(out, {"model": bundle.manifest.name, "figures": figures, "conditions": conditions(None, *packages)})


if __name__ == "__main__":
    typer.run(main)
