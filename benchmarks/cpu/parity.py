"""Parity of a plan with the trained model: each stage of the export compared with the one before and with PyTorch.

    python -m benchmarks.cpu.parity runs/pvlr-lite2-coco80 --images $PVLR_DATA/coco/images \\
        --labels $PVLR_DATA/coco/labels.csv --split testdev

Stages: PyTorch, ONNX Runtime and OpenVINO in fp32, OpenVINO in bf16 (if the CPU supports it), all on the same pixels.
Needs the extras [train] and [test].
"""

from __future__ import annotations

import json
import platform
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from onnx import load as load_onnx

from pvlr_sdk import Tagger
from pvlr_sdk.backends import runtimes
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.compile.build import build
from pvlr_sdk.compile.gate import compare
from pvlr_sdk.errors import BackendError
from pvlr_sdk.evaluation.labels_csv import read_labels
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_training.checkpoint import load_model
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.export import export
from pvlr_training.model.network import PVLR

from ..common import Json, Table, run, save

Logits = NDArray[np.float32]


def main(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a run, with model.safetensors.")],
    images: Annotated[Path, typer.Option(help="Folder of images.")],
    labels: Annotated[Path, typer.Option(help="CSV of the images and their labels.")],
    split: Annotated[str, typer.Option(help="Split of the CSV.")] = "testdev",
    count: Annotated[int, typer.Option(help="Number of images.")] = 200,
    out: Json = None,
) -> None:
    """Compare PyTorch, ONNX Runtime and OpenVINO on the same images."""
    files = read_labels(labels, split).files[:count]
    with tempfile.TemporaryDirectory() as folder:
        onnx = export(checkpoint, Path(folder))
        build(onnx, Path(folder) / "engine.plan")
        frames = [load_frame(images / name, "bgr").pixels for name in files]
        model, config, _ = load_model(checkpoint)
        preprocess = Preprocessor(config.data.input)
        inputs = [preprocess(frame, "bgr")[None] for frame in frames]
        stages = {"torch fp32": _torch(model, inputs), "ONNX Runtime fp32": _onnxruntime(onnx, inputs)}
        build(_without_front(onnx), Path(folder) / "plain.plan")
        runs = [("fp32", "engine"), ("bf16", "engine"), ("bf16", "plain")]
        for precision, plan in runs:
            name = f"OpenVINO {precision}" + (" without the fp32 front" if plan == "plain" else "")
            try:
                stages[name] = _openvino(Path(folder) / f"{plan}.plan", precision, frames)
            except BackendError as error:
                print(error)
        thresholds = LabelBank.load(labels_path(onnx)).thresholds
    first, second, *others = stages
    pairs = [(second, first)]
    pairs += [(name, second if "fp32" in name.split()[1] else "OpenVINO fp32") for name in others]
    pairs += [(name, first) for name in others]
    rows = []
    for stage, against in pairs:
        found = compare(stages[stage], stages[against], thresholds)
        row = {"stage": stage, "against": against, "mean_logit_difference": found.mean_logit_difference}
        row |= {"largest_logit_difference": found.largest_logit_difference, "same_tag_sets": 100 * found.tag_sets}
        rows.append(row)
    cells = [[f"{value:.3g}" if isinstance(value, float) else value for value in row.values()] for row in rows]
    columns = ["stage", "compared with", "mean logit difference", "largest", "same tags, %"]
    Table(f"{len(files)} images", columns, cells).print()
    save(out, {"photos": len(files), "machine": platform.processor() or platform.machine(), "rows": rows})


def _without_front(onnx: Path) -> Path:
    """The same network computed completely in the precision of the engine, without the fp32 front."""
    network = load_onnx(onnx)
    spec = json.loads(network.metadata_props[0].value)
    network.metadata_props[0].value = json.dumps({**spec, "fp32_until": None})
    plain = onnx.with_name("plain.onnx")
    plain.write_bytes(network.SerializeToString())
    LabelBank.load(labels_path(onnx)).save(labels_path(plain))
    return plain


@torch.inference_mode()
def _torch(model: PVLR, inputs: list[NDArray[np.float32]]) -> Logits:
    deployed = DeployedPVLR(model)
    return np.concatenate([deployed(torch.from_numpy(image)).logits.numpy() for image in inputs])


def _onnxruntime(onnx: Path, inputs: list[NDArray[np.float32]]) -> Logits:
    session = runtimes.onnxruntime().InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], {"image": image})[0] for image in inputs])


def _openvino(plan: Path, precision: str, frames: list[NDArray[np.uint8]]) -> Logits:
    with Tagger(plan, precision=precision) as tagger:
        return np.stack([tagger.predict(frame).logits for frame in frames])


if __name__ == "__main__":
    run(main)
