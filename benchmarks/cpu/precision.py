"""Effect of the precisions that TensorRT plans are built in, compared with fp32, on images and any CPU.

    python -m benchmarks.cpu.precision models/pvlr-lite2-coco80/engine.plan --images $PVLR_DATA/voc2007/images \\
        --labels $PVLR_DATA/voc2007/labels.csv

Every intermediate result is rounded to its type in the graph (docs/precision.md), which is slow. The ranges of int8
come from the images of the split --ranges. Needs the extra [int8].
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pvlr_sdk.compile.calibration import CalibrationImages
from pvlr_sdk.compile.export import check
from pvlr_sdk.compile.onnx.convert import convert
from pvlr_sdk.evaluation.labels_csv import read_labels
from pvlr_sdk.models.find import load_bundle

from ..common import Json, Table, conditions, run, save


def main(
    plan: Annotated[Path, typer.Argument(help="An fp32 plan for the CPU, whose payload is the exported network.")],
    images: Annotated[Path, typer.Option(help="Folder of images.")],
    labels: Annotated[Path, typer.Option(help="CSV of the images and their labels, as for pvlr eval.")],
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "testdev",
    ranges: Annotated[str, typer.Option(help="Split for the ranges of int8.")] = "train",
    count: Annotated[int, typer.Option(help="Number of images to measure on.")] = 300,
    calibration: Annotated[int, typer.Option(help="Number of images for the ranges.")] = 200,
    precision: Annotated[list[str] | None, typer.Option(help="Only these precisions; repeatable.")] = None,
    attention: Annotated[str, typer.Option(help="native or fused.")] = "native",
    out: Json = None,
) -> None:
    """Convert a network and compare each precision with fp32."""
    bundle = load_bundle(plan)
    names = bundle.labels.names
    photos = CalibrationImages.listed(images, read_labels(labels, split, names), "--images").evenly(count)
    ranged = CalibrationImages.listed(images, read_labels(labels, ranges, names), "--images").evenly(calibration).frames
    figures = {}
    for name in precision or ("fp16", "bf16", "int8"):
        began = time.perf_counter()
        payload = convert(bundle.payload, precision=name, attention=attention, frames=ranged, source=str(plan))
        agreement = check(payload, bundle.payload, photos.frames, bundle.labels.thresholds, photos.targets)
        figures[name] = {**agreement.to_dict(), "bytes": len(payload), "seconds": round(time.perf_counter() - began)}
    rows = []
    for name, row in figures.items():
        differences = [f"{row['largest_logit_difference']:.3f}", f"{row['mean_logit_difference']:.4f}"]
        scores = f"{row['mAP']:.2f} ({row['mAP_fp32']:.2f})"
        rows.append([name, f"{100 * row['tag_sets']:.1f} %", *differences, scores])
    columns = ["precision", "same tags", "largest logit difference", "mean", "mAP (fp32)"]
    Table(f"{bundle.manifest.name}, {len(photos.frames)} images, {attention} attention", columns, rows).print()
    packages = ("onnx", "onnxruntime", "nncf")
    save(out, {"model": bundle.manifest.name, "figures": figures, "conditions": conditions(None, *packages)})


if __name__ == "__main__":
    run(main)
