"""The value of each part of PVLR: trains the rows of rows.yaml and measures them.

    python -m benchmarks.accuracy train linear                # one row
    python -m benchmarks.accuracy train --seeds 2             # all rows that have no results; can be interrupted
    python -m benchmarks.pages heads                          # docs/heads.md from the results

Needs the train extra and $PVLR_DATA. All rows with a frozen backbone share its features, which the first of them
computes (6 minutes on two cores) and keeps in runs/accuracy/features.
"""

from __future__ import annotations

import json
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console

from pvlr_sdk.evaluation.metrics import average_precision_11pt
from pvlr_training.checkpoint import load_model
from pvlr_training.config import load_config
from pvlr_training.data.augmentation import Views
from pvlr_training.data.config import DataConfig
from pvlr_training.data.features import shared_features
from pvlr_training.data.images import ImageDataset, load_dataset
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.evaluate import measure, predict_logits
from pvlr_training.folder import has_state
from pvlr_training.machine import Machine
from pvlr_training.model.network import PVLR
from pvlr_training.train import train as train_run

from ..common import command, save
from .rows import Row, read_rows

app = typer.Typer(add_completion=False)
console = Console()


@app.callback()
def accuracy() -> None:
    """Experiments on the accuracy of PVLR and of other heads."""


@app.command()
@command
def train(
    names: Annotated[list[str] | None, typer.Argument(help="Rows to train. Default: all.")] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds per row: 0, 1, ...")] = 1,
    again: Annotated[bool, typer.Option(help="Also train rows that have results.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/accuracy"),
) -> None:
    """Train rows and write their results to benchmarks/results/accuracy."""
    rows = read_rows()
    unknown = sorted(set(names or ()) - {row.name for row in rows})
    if unknown:
        raise typer.BadParameter(f"unknown row {unknown[0]}; the rows are {', '.join(row.name for row in rows)}")
    for row, seed in [(row, seed) for seed in range(seeds) for row in rows if not names or row.name in names]:
        if again:
            shutil.rmtree(out / f"{row.name}-{seed}", ignore_errors=True)
        if again or not row.result(seed).exists():
            figures = train_row(row, seed, out)
            console.print(f"{row.name} {seed}: mAP {figures['testdev']['mAP']}, {figures['seconds'] / 60:.1f} minutes")


def train_row(row: Row, seed: int, out: Path) -> dict[str, Any]:
    """Train one row, or resume it, and measure it on the test split."""
    overrides = [*row.overrides, f"train.seed={seed}", f"train.features={(out / 'features').resolve()}"]
    config = load_config(row.config, overrides)
    folder = out / f"{row.name}-{seed}"
    dataset = decoded(config.data.model_dump_json())
    begun = has_state(folder) or (folder / "model.safetensors").exists()
    train_run(row.config, overrides, out=folder, resume=begun, console=console, dataset=dataset)
    model, config, extra = load_model(folder)
    tested = test_split(config.data)
    dataset = decoded(tested.model_dump_json())
    logits = test_logits(model, dataset, Views(tested, 0), out, frozen=config.train.finetune.epochs == 0)
    targets = dataset.targets.numpy()
    testdev = measure(logits, targets, np.array(extra["thresholds"]))
    each = [average_precision_11pt(logits[:, c], targets[:, c]) for c in range(targets.shape[1])]
    testdev["mAP_11pt"] = round(100 * float(np.mean(each)), 2)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    figures = {
        "row": row.name,
        "seed": seed,
        "overrides": list(row.overrides),
        "photos": {"testdev": len(dataset)},
        "testdev": testdev,
        "holdout": extra["holdout"],
        "parameters": {
            "head": sum(p.numel() for part in (model.head, model.text) for p in part.parameters() if p.requires_grad),
            "backbone": sum(p.numel() for p in model.backbone.parameters()),
        },
        "seconds": extra["seconds"],
        "seconds_an_epoch": seconds_an_epoch(log),
        "threads": extra["threads"],
        "torch": torch.__version__,
    }
    save(row.result(seed), figures)
    return figures


def test_split(data: DataConfig) -> DataConfig:
    """The same labels and pixels, with all images of the split ``testdev``."""
    source = data.sources[0].model_copy(update={"splits": ("testdev",)})
    return data.model_copy(update={"sources": (source,), "share": 1.0})


@lru_cache
def decoded(config: str) -> ImageDataset:
    """The images of a data configuration, given as JSON: decoded once for all rows of this process."""
    return load_dataset(DataConfig.model_validate_json(config))


def test_logits(model: PVLR, dataset: ImageDataset, views: Views, out: Path, frozen: bool) -> NDArray[np.float64]:
    """Logits of the deployed network; with a frozen backbone from its cached features (bf16)."""
    deployed, machine = DeployedPVLR(model), Machine("auto")
    if not frozen:
        with machine.autocast():
            return predict_logits(deployed, dataset, views)
    features = shared_features(out / "features", model.backbone, dataset, views, 1, machine, lambda _: None)[0]
    with torch.inference_mode():
        logits = [deployed.head(part.float(), deployed.bank).logits.double() for part in features.split(64)]
        return torch.cat(logits).numpy()


def seconds_an_epoch(log: list[dict[str, Any]]) -> dict[str, float]:
    """Median time per epoch of each stage with at least two epochs."""
    ends = {stage: [entry["seconds"] for entry in log if entry["stage"] == stage] for stage in ("head", "finetune")}
    return {stage: round(float(np.median(np.diff(of))), 1) for stage, of in ends.items() if len(of) > 1}


if __name__ == "__main__":
    app()
