"""What is each part of PVLR worth? Trains the rows of accuracy_rows.yaml, measures them, and writes docs/accuracy.md.

    python benchmarks/accuracy.py train linear                # one row: trains it, prints and writes its figures
    python benchmarks/accuracy.py train --seeds 2 --jobs 2    # all rows that have no figures yet; stop it at any time
    python benchmarks/accuracy.py write                       # docs/accuracy.md from benchmarks/results

Needs the extra [train] and $PVLR_DATA. All rows with the frozen backbone share its features, which the first of them
computes (6 minutes on two cores) and keeps in runs/accuracy/features.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
import yaml
from numpy.typing import NDArray
from rich.console import Console

from pvlr_sdk.files import write_files
from pvlr_sdk.metrics import average_precision_11pt
from pvlr_training.checkpoint import load_model
from pvlr_training.config import CsvSource, DataConfig, load_config
from pvlr_training.data import Photos, Views, load_photos
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.evaluate import measure, predict_logits
from pvlr_training.features import shared_features
from pvlr_training.machine import Machine
from pvlr_training.model import PVLR
from pvlr_training.state import has_state
from pvlr_training.train import train as train_run

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "accuracy.md"
app = typer.Typer(add_completion=False, help=__doc__)
console = Console()


@dataclass(frozen=True)
class Row:
    """One experiment: a recipe's configuration with some keys changed."""

    name: str
    label: str
    group: str
    table: str
    recipe: str
    config: Path
    overrides: tuple[str, ...]

    def result(self, seed: int) -> Path:
        return RESULTS / "accuracy" / f"{self.name}-{seed}.json"


def read_rows() -> list[Row]:
    raw = yaml.safe_load((HERE / "accuracy_rows.yaml").read_text())
    rows = []
    for group in raw["groups"]:
        recipe = raw["recipes"][group["recipe"]]
        for row in group["rows"]:
            overrides = (*recipe["set"], *row.get("set", ()))
            config = (HERE / recipe["config"]).resolve()
            place = group["title"], group["table"], group["recipe"]
            rows.append(Row(row["name"], row["label"], *place, config, overrides))
    return rows


@app.command()
def train(
    names: Annotated[list[str] | None, typer.Argument(help="Rows to train; default: all.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each row: 0, 1, ...")] = 1,
    jobs: Annotated[int, typer.Option(help="Processes side by side, one thread each; 1: one with all threads.")] = 1,
    share: Annotated[str, typer.Option(help="i/n: only every n-th experiment, from the i-th on.")] = "0/1",
    again: Annotated[bool, typer.Option(help="Train rows that have figures too.")] = False,
    out: Annotated[Path, typer.Option(help="Where the runs are kept.")] = Path("runs/accuracy"),
) -> None:
    """Train rows and write their figures to benchmarks/results/accuracy."""
    rows = read_rows()
    unknown = sorted(set(names or ()) - {row.name for row in rows})
    if unknown:
        raise typer.BadParameter(f"no row {unknown[0]}; there are {', '.join(row.name for row in rows)}")
    if jobs > 1:
        given = [sys.executable, __file__, "train", *(names or ()), f"--seeds={seeds}", f"--out={out}"]
        given += ["--again"] if again else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        running = [subprocess.Popen([*given, f"--share={i}/{jobs}"], env=environment) for i in range(jobs)]
        raise typer.Exit(max([process.wait() for process in running]))
    first, step = map(int, share.split("/"))
    chosen = [(row, seed) for seed in range(seeds) for row in rows if not names or row.name in names]
    for row, seed in chosen[first::step]:
        if again:
            shutil.rmtree(out / f"{row.name}-{seed}", ignore_errors=True)
        if again or not row.result(seed).exists():
            figures = train_row(row, seed, out)
            console.print(f"{row.name} {seed}: mAP {figures['testdev']['mAP']}, {figures['seconds'] / 60:.1f} minutes")


def train_row(row: Row, seed: int, out: Path) -> dict[str, Any]:
    overrides = [*row.overrides, f"train.seed={seed}", f"train.features={(out / 'features').resolve()}"]
    config = load_config(row.config, overrides)
    folder = out / f"{row.name}-{seed}"
    photos = decoded(config.data.model_dump_json())
    begun = has_state(folder) or (folder / "model.safetensors").exists()
    train_run(row.config, overrides, out=folder, resume=begun, console=console, photos=photos)
    model, config, extra = load_model(folder)
    source = config.data.sources[0]
    assert isinstance(source, CsvSource)
    tested = config.data.model_copy(
        update={"sources": (source.model_copy(update={"splits": ("testdev",)}),), "share": 1.0}
    )
    photos = decoded(tested.model_dump_json())
    logits = test_logits(model, photos, Views(tested, 0), out, frozen=config.train.finetune.epochs == 0)
    targets = photos.targets.numpy()
    testdev = measure(logits, targets, np.array(extra["thresholds"]))
    testdev["mAP_11pt"] = round(
        100 * float(np.mean([average_precision_11pt(logits[:, c], targets[:, c]) for c in range(targets.shape[1])])), 2
    )
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    figures = {
        "row": row.name,
        "seed": seed,
        "overrides": list(row.overrides),
        "photos": {"testdev": len(photos)},
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
    write_files({row.result(seed): (json.dumps(figures, indent=1) + "\n").encode()})
    return figures


@lru_cache
def decoded(config: str) -> Photos:
    """The photos of a data configuration, given as JSON: decoded once for all rows of this process."""
    return load_photos(DataConfig.model_validate_json(config))


def test_logits(model: PVLR, photos: Photos, views: Views, out: Path, frozen: bool) -> NDArray[np.float64]:
    """Logits of the deployed network; where the backbone was never trained, on its cached features (bf16)."""
    deployed, machine = DeployedPVLR(model), Machine("auto")
    if not frozen:
        with machine.autocast():
            return predict_logits(deployed, photos, views)
    features = shared_features(out / "features", model.backbone, photos, views, 1, machine, lambda _: None)[0]
    with torch.inference_mode():
        logits = [deployed.head(part.float(), deployed.bank).logits.double() for part in features.split(64)]
        return torch.cat(logits).numpy()


def seconds_an_epoch(log: list[dict[str, Any]]) -> dict[str, float]:
    """The median time between two epochs' ends, for each stage that has two."""
    found = {}
    for stage in ("head", "finetune"):
        ends = [entry["seconds"] for entry in log if entry["stage"] == stage]
        if len(ends) > 1:
            found[stage] = round(float(np.median(np.diff(ends))), 1)
    return found


@app.command()
def write() -> None:
    """Write docs/accuracy.md from its template and the files in benchmarks/results."""
    page = (HERE / "accuracy_page.md").read_text()
    tables = {"shipped": shipped_table, "parity": parity_table}
    page = re.sub(r"\{\{ (\w+) \}\}", lambda match: tables[match[1]]() if match[1] in tables else table(match[1]), page)
    write_files({PAGE: page.encode()})
    console.print(f"wrote {PAGE}")


def table(name: str) -> str:
    """The table's rows that have figures, in Markdown; the difference is to the first row of the recipe.

    Times are those of the fastest seed: the others had more company on the machine.
    """
    every = read_rows()
    rows = [row for row in every if row.table == name]
    several = len({row.group for row in rows}) > 1
    lines = ["| | mAP | against PVLR | Head, parameters | Seconds an epoch | Repeat it | |", "| --- " * 7 + "|"]
    group = None
    for row in rows:
        figures = [json.loads(path.read_text()) for path in seeds_of(row)]
        if not figures:
            continue
        if row.group != group and several:
            lines.append(f"| **{row.group}** | | | | | | |")
        group = row.group
        scores = [one["testdev"]["mAP"] for one in figures]
        shown = f"{statistics.mean(scores):.2f}" + (
            f" ({', '.join(f'{score:.2f}' for score in scores)})" if len(scores) > 1 else ""
        )
        base = next(other for other in every if other.recipe == row.recipe)
        base_map = mean_map(base)
        difference = ""
        if row.name != base.name and base_map is not None:
            difference = f"{round(statistics.mean(scores) - base_map, 2) + 0.0:+.2f}"  # + 0.0: no -0.00
        stage = list(figures[0]["seconds_an_epoch"])[-1]
        lines.append(
            f"| {row.label} | {shown} | {difference} | {figures[0]['parameters']['head'] / 1e6:.2f} M "
            f"| {shown_seconds(min(one['seconds_an_epoch'][stage] for one in figures))} "
            f"| `python benchmarks/accuracy.py train {row.name}` "
            f"| {max(1, min(one['seconds'] for one in figures) / 60):.0f} min |"
        )
    if group is None:
        return "Not measured yet: `python benchmarks/accuracy.py train " + " ".join(row.name for row in rows) + "`."
    return "\n".join(lines)


def shown_seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 1 else "< 1"


def seeds_of(row: Row) -> list[Path]:
    return sorted((RESULTS / "accuracy").glob(f"{row.name}-[0-9].json"))


def mean_map(row: Row) -> float | None:
    scores = [json.loads(path.read_text())["testdev"]["mAP"] for path in seeds_of(row)]
    return statistics.mean(scores) if scores else None


def shipped_table() -> str:
    """What ``pvlr eval --json`` printed for the shipped plans."""
    lines = ["| Model | Photos | mAP | mAP, 11 points | CF1 | OF1 |", "| --- " * 6 + "|"]
    for path in sorted(RESULTS.glob("eval-*.json"), reverse=True):
        report = json.loads(path.read_text())
        photos = path.stem.split("-on-")[1].replace("_", " ")  # eval-<plan>-on-<photos>.json
        lines.append(
            f"| `{report['model']}` | {photos}, {report['images']:,} | {report['mAP']:.2f} | {report['mAP_11pt']:.2f} "
            f"| {report['CF1']:.2f} | {report['OF1']:.2f} |"
        )
    return "\n".join(lines)


def parity_table() -> str:
    lines = [
        "| Model | Stage, against torch fp32 | Mean logit difference | Largest | Same tag sets |",
        "| --- " * 5 + "|",
    ]
    for path in sorted(RESULTS.glob("parity-*.json"), reverse=True):
        report = json.loads(path.read_text())
        for row in report["rows"]:
            if row["against"] == "torch fp32":
                lines.append(
                    f"| `{path.stem.removeprefix('parity-')}` | {row['stage']} | {row['mean_logit_difference']:.2g} "
                    f"| {row['largest_logit_difference']:.2g} | {row['same_tag_sets']:.1f} % |"
                )
    return "\n".join(lines)


if __name__ == "__main__":
    app()
