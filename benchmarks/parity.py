"""Does the compiled engine say what the trained model said? Compares every stage with the one before it.

    python benchmarks/parity.py runs/pvlr-lite2-voc20 --images $PVLR_DATA/voc2007/images \\
        --labels $PVLR_DATA/voc2007/labels.csv --split testdev

Stages: torch fp32 -> ONNX Runtime fp32 -> OpenVINO fp32 -> OpenVINO bf16, where the CPU has it; same pixels for all.
Prints one table, the largest logit difference and the share of photos with the same tag set at the deployed
thresholds, and writes it as JSON. Needs the extras [train] and [test].
"""

from __future__ import annotations

import json
import platform
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import torch
import typer
from numpy.typing import NDArray
from onnx import load as load_onnx
from rich.console import Console
from rich.table import Table

from pvlr_sdk import Tagger
from pvlr_sdk.build import build
from pvlr_sdk.bundle import labels_path
from pvlr_sdk.errors import BackendError
from pvlr_sdk.frames import load_frame
from pvlr_sdk.labels import LabelBank
from pvlr_sdk.labels_csv import read_labels
from pvlr_sdk.preprocess import Preprocessor
from pvlr_training.checkpoint import load_model
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.export import export

Logits = NDArray[np.float32]


@dataclass
class Row:
    """One stage against the stage named ``against``."""

    stage: str
    against: str
    mean_logit_difference: float
    largest_logit_difference: float
    same_tag_sets: float


def main(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder with model.safetensors.")],
    images: Annotated[Path, typer.Option(help="Folder of photos.")],
    labels: Annotated[Path, typer.Option(help="labels.csv that names the photos.")],
    split: Annotated[str, typer.Option(help="Which split of it.")] = "testdev",
    count: Annotated[int, typer.Option(help="How many photos.")] = 200,
    out: Annotated[Path | None, typer.Option("--json", help="Write the table here as well.")] = None,
) -> None:
    """Compare torch, ONNX Runtime and OpenVINO on the same photos."""
    files = read_labels(labels, split).files[:count]
    with tempfile.TemporaryDirectory() as folder:
        onnx = export(checkpoint, Path(folder))
        build(onnx, Path(folder) / "engine.plan")
        frames = [load_frame(images / name, "bgr").pixels for name in files]
        stages = {"torch fp32": _torch(checkpoint, frames), "ONNX Runtime fp32": _onnxruntime(onnx, checkpoint, frames)}
        build(_without_front(onnx), Path(folder) / "plain.plan")
        runs = [("fp32", "engine"), ("bf16", "engine"), ("bf16", "plain")]
        for precision, plan in runs:
            name = f"OpenVINO {precision}" + (" without the fp32 front" if plan == "plain" else "")
            try:
                stages[name] = _openvino(Path(folder) / f"{plan}.plan", precision, frames)
            except BackendError as error:
                print(error)
        thresholds = LabelBank.load(labels_path(onnx)).thresholds
    cuts = np.log(thresholds) - np.log1p(-thresholds)
    first, second, *others = stages
    rows = [_compare(stages, second, first, cuts)]
    rows += [_compare(stages, name, second if "fp32" in name.split()[1] else "OpenVINO fp32", cuts) for name in others]
    rows += [_compare(stages, name, first, cuts) for name in others]
    _print(rows, len(files))
    if out:
        data = {"photos": len(files), "machine": platform.processor() or platform.machine()}
        out.write_text(json.dumps({**data, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def _without_front(onnx: Path) -> Path:
    """The same network, told to compute all of it in the engine's precision: what the fp32 front is worth."""
    network = load_onnx(onnx)
    spec = json.loads(network.metadata_props[0].value)
    network.metadata_props[0].value = json.dumps({**spec, "fp32_until": None})
    plain = onnx.with_name("plain.onnx")
    plain.write_bytes(network.SerializeToString())
    LabelBank.load(labels_path(onnx)).save(labels_path(plain))
    return plain


def _compare(stages: dict[str, Logits], stage: str, against: str, cuts: Logits) -> Row:
    a, b = stages[stage], stages[against]
    same = ((a >= cuts) == (b >= cuts)).all(axis=1)
    return Row(stage, against, float(np.abs(a - b).mean()), float(np.abs(a - b).max()), float(100 * same.mean()))


@torch.inference_mode()
def _torch(checkpoint: Path, frames: list[NDArray[np.uint8]]) -> Logits:
    model, config, _ = load_model(checkpoint)
    deployed, preprocess = DeployedPVLR(model), Preprocessor(config.data.input)
    return np.concatenate([deployed(torch.from_numpy(preprocess(f, "bgr"))[None]).logits.numpy() for f in frames])


def _onnxruntime(onnx: Path, checkpoint: Path, frames: list[NDArray[np.uint8]]) -> Logits:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    preprocess = Preprocessor(load_model(checkpoint)[1].data.input)
    return np.concatenate([session.run(["logits"], {"image": preprocess(f, "bgr")[None]})[0] for f in frames])


def _openvino(plan: Path, precision: str, frames: list[NDArray[np.uint8]]) -> Logits:
    with Tagger(plan, precision=precision) as tagger:
        return np.stack([tagger.predict(frame).logits for frame in frames])


def _print(rows: list[Row], count: int) -> None:
    table = Table(title=f"{count} photos")
    for column in ("stage", "against"):
        table.add_column(column)
    for column in ("mean", "largest logit difference", "same tag sets"):
        table.add_column(column, justify="right")
    for row in rows:
        mean, largest = f"{row.mean_logit_difference:.2g}", f"{row.largest_logit_difference:.2g}"
        table.add_row(row.stage, row.against, mean, largest, f"{row.same_tag_sets:.1f} %")
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
