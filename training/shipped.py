"""The shipped models in training: where a run starts, and how good the bundled one is on the same labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pvlr_sdk import Tagger
from pvlr_sdk.bundle.bundle import read_manifest
from pvlr_sdk.errors import CheckpointError, PlanNotFoundError
from pvlr_sdk.labels.meaning import kind_among, same_labels
from pvlr_sdk.models.catalogue import catalogue, locate
from pvlr_sdk.models.find import default_plan, find_plan
from pvlr_sdk.workshop.evaluation.evaluate import EvalReport, evaluate
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels

IMAGENET = "imagenet"


def start(wanted: str | None, backbone: str) -> tuple[str, str | None]:
    """The backbone of a new run, and its ``train.init``, None for ImageNet's weights.

    Args:
        wanted: a run, a plan, the name of a model or ``imagenet``; None: the installed model with this ``backbone``.

    Raises:
        CheckpointError: a plan that does not name its backbone.
        PlanNotFoundError, BundleError: there is no such run or plan.
    """
    if wanted is None:
        named = (found[1] for model in catalogue().models if (found := locate(model)))
        fitting = (plan for plan in (_bundled(), *named) if plan and _backbone(plan) == backbone)
        plan = next(fitting, None)
        return backbone, plan and plan.parent.name
    if wanted == IMAGENET:
        return backbone, None
    run = Path(wanted) / "model.json"
    if run.is_file():
        return json.loads(run.read_bytes())["config"]["model"]["backbone"], str(
            run.parent.resolve()
        )
    own = _backbone(find_plan(wanted))
    if own is None:
        raise CheckpointError(
            "--from",
            "a plan that names its backbone",
            wanted,
            "Name a run, or a plan of pvlr_training.",
        )
    return own, str(Path(wanted).resolve()) if Path(wanted).exists() else wanted


def _bundled() -> Path | None:
    try:
        return default_plan()
    except PlanNotFoundError:
        return None


def _backbone(plan: Path) -> str | None:
    source = read_manifest(plan).built.get("source")
    return source.get("backbone") if isinstance(source, dict) else None


@dataclass(frozen=True)
class Comparison:
    """The bundled model on a run's held-out images: ``known`` maps labels of the run to its labels; both mAPs are in
    percent, over these labels."""

    model: str
    labels: int
    known: dict[str, str]
    bundled: float
    run: float

    def __str__(self) -> str:
        all_of = f"{len(self.known)} of {self.labels} labels are in {self.model}"
        renamed = ", ".join(f"{own} as {its}" for own, its in self.known.items() if own != its)
        figures = (
            f"there it has {self.bundled:.1f} mAP on the held-out images, this run {self.run:.1f}"
        )
        return f"{all_of}{f' ({renamed})' if renamed else ''}: {figures}"


def compare(measured: EvalReport, images: Path, labels: Path) -> Comparison | None:
    """Measure the bundled model on the split ``val`` of ``labels``; None if it has no label of the run.

    Args:
        measured: the run's own accuracy on these images.
        images: the folder that the file names in ``labels`` are relative to.
    """
    if _bundled() is None:
        return None
    with Tagger(optimize="throughput") as tagger:
        averages = {
            label: value for label, value in measured.per_class.items() if value is not None
        }
        pairs = match(tuple(measured.per_class), tagger.labels)
        for label in measured.per_class:  # a pedestrian is a person
            kind = None if label in pairs else kind_among(label, tagger.labels)
            if kind is not None and kind not in pairs.values():
                pairs[label] = kind
        known = {label: its for label, its in pairs.items() if label in averages}
        if not known:
            return None
        renames = {label: its for label, its in pairs.items() if label != its}
        theirs = evaluate(tagger, images, read_labels(labels, "val", tagger.labels, renames))
        bundled = [value for its in known.values() if (value := theirs.per_class[its]) is not None]
    mine = sum(averages[label] for label in known) / len(known)
    return Comparison(
        theirs.model, len(measured.per_class), known, sum(bundled) / len(bundled), mine
    )


def match(labels: tuple[str, ...], known: tuple[str, ...]) -> dict[str, str]:
    """The known label of each label that names the same thing, each once: by its letters, else as a synonym.

    Of VOC's 20 names, these are COCO's for all but "motorbike" and "tvmonitor".
    """
    by_letters = {_letters(name): name for name in reversed(known)}
    exact_first = sorted(labels, key=lambda label: label not in known)
    found = {
        label: by_letters[_letters(label)] for label in exact_first if _letters(label) in by_letters
    }
    for label in labels:
        if label not in found:
            found |= same_labels([label], known)
    once = {its: label for label, its in reversed(found.items())}  # the surest of several
    return {label: its for label, its in found.items() if once[its] == label}


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
