"""``pvlr train IMAGES LABELS``: from images and their labels to a plan that is built, verified and measured.

PyTorch, which takes seconds to import, is imported when images and labels have been checked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pvlr_sdk import Tagger
from pvlr_sdk._util.files import write_files
from pvlr_sdk.labels.thresholds import Objective
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.gate import MIN_AGREEMENT, Agreement
from pvlr_sdk.workshop.compile.verify import verify
from pvlr_sdk.workshop.evaluation.evaluate import EvalReport, evaluate
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels
from pvlr_sdk.workshop.evaluation.thresholds import set_thresholds

from .config import load_config
from .folder import PREVALENCE, check_folder
from .logs import RunLog
from .prepare import prepare
from .report import report
from .shipped import Comparison, compare, start

_AFTER = 0.5
"""Minutes of a budget for everything but training: imports, export, build, verification and the report."""
_IMAGES_PER_MINUTE = 600
"""The most images that a budget allows: one pass over them takes a third of it on two cores."""
_VERIFIED = 100


@dataclass(frozen=True)
class Outcome:
    """The results of a run, in its folder: the plan, the page about it, and the accuracy on the held-out images.

    ``comparison`` is that of the bundled model on the labels that both have.
    """

    folder: Path
    plan: Path
    page: Path
    measured: EvalReport
    agreement: Agreement
    comparison: Comparison | None


def train_images(
    images: Path,
    labels: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    out: Path | None = None,
    start_from: str | None = None,
    prevalence: str | None = None,
    quick: bool = False,
    budget: float | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Outcome | None:
    """Train on a folder of images, and build, verify and measure a plan with the thresholds of the held-out images.

    Args:
        images: the folder; ``labels``: a label file (see :mod:`pvlr_sdk.workshop.evaluation.label_formats`), or None.
        out: the run's folder, by default ``runs/`` and the name of ``images``.
        start_from: a run, a plan, the name of a model or ``imagenet``; None: the shipped model whose backbone fits.
        prevalence: how frequent labels are where the plan will be used, as for :func:`.evaluate.evaluate`: thresholds
            are chosen for it, and the accuracy is also given there.
        quick: a first look: a smaller network and input, the head only, at most 300 images.
        budget: minutes for everything; None: a fixed number of epochs.

    Raises:
        ImageNotFoundError, LabelsFileError, ConfigError, CheckpointError: invalid images, labels, keys or folder.
        PlanNotFoundError, BundleError: ``start_from`` is neither a run nor a plan.
        as :func:`.train.train`, :func:`.export.export` and :func:`pvlr_sdk.workshop.compile.build.build`.
    """
    folder = out or default_folder(images)
    console = console or Console(stderr=True)
    log = RunLog(folder, console)
    check_folder(folder, resume)
    path = folder / "config.yaml"
    if not (resume and path.exists()):
        limit = 300 if quick else round(_IMAGES_PER_MINUTE * budget) if budget else None
        recipe = _recipe(quick, budget)
        chosen = dict(item.split("=", 1) for item in overrides)
        backbone, init = start(
            start_from, chosen.get("model.backbone") or recipe["model"]["backbone"]
        )
        recipe["model"]["backbone"] = backbone
        recipe["train"]["init"] = init
        path, notes = prepare(images, labels, folder, recipe, limit)
        log.say(notes[0])
        for note in notes[1:]:
            log.warn(note)
    from .train import train

    train(path, tuple(overrides), out=folder, resume=resume, console=console, summary=False)
    return finish(folder, console, prevalence)


def default_folder(images: Path) -> Path:
    """The folder of a run without ``--out``."""
    return Path("runs") / images.resolve().name


def _recipe(quick: bool, budget: float | None) -> dict[str, Any]:
    if quick:
        train = {"views": 2, "head": {"epochs": 8}, "finetune": {"epochs": 0}}
        return {"model": {"backbone": "tf_efficientnet_lite0"}, "data": _input(192), "train": train}
    model = {"backbone": "tf_efficientnet_lite2"}
    if budget is None:
        return {
            "model": model,
            "data": _input(288),
            "train": {"best": True, "head": {}, "finetune": {"epochs": 6}},
        }
    train = {
        "best": True,
        "budget": max(0.1, budget - _AFTER),
        "head": {"epochs": 16},
        "finetune": {"epochs": 8},
    }
    return {"model": model, "data": _input(224 if budget < 3 else 288), "train": train}


def _input(side: int) -> dict[str, Any]:
    return {"input": {"width": side, "height": side}}


def finish(folder: Path, console: Console, prevalence: str | None = None) -> Outcome:
    """Export a finished run, build its plan, compare it with the network, measure it, and write the report.

    ``prevalence`` is written to ``prevalence.json``, for the report and for further measurements.
    """
    from .export import export

    config = load_config(folder / "config.yaml")
    images = config.data.sources[0].images
    plan = folder / "engine.plan"
    page = folder / "report.html"
    network = export(folder, folder)
    for precision in ("auto", "fp32"):
        build(network, plan, precision=precision)
        table = read_labels(folder / "labels.csv", "val", config.data.labels)
        if prevalence is not None:
            chosen = set_thresholds(plan, images, table, Objective(), prevalence=prevalence)
            stated = folder / PREVALENCE
            write_files({stated: json.dumps(chosen.prevalence).encode()})
            prevalence = str(stated)
        with Tagger(plan, optimize="throughput") as tagger:
            measured = evaluate(tagger, images, table, prevalence=prevalence)
            compared = verify(tagger, network, [images / file for file in table.files[:_VERIFIED]])
        if compared.agreement.tag_sets >= MIN_AGREEMENT:
            break
    compared.agreement.check(MIN_AGREEMENT, str(plan))
    comparison = compare(measured, images, folder / "labels.csv")
    report([folder], page, notes=[str(comparison)] if comparison else [], console=console)
    return Outcome(folder, plan, page, measured, compared.agreement, comparison)
