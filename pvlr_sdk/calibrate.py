"""Gives a compiled plan new thresholds, chosen on labelled photos: what ``pvlr calibrate`` does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import errors
from .bundle import Bundle, shortest, write_thresholds
from .evaluate import tag_photos
from .labels_csv import LabelTable
from .metrics import f1_scores
from .tagger import Tagger
from .thresholds import Objective, choose_thresholds


@dataclass(frozen=True)
class CalibratedLabel:
    """One label: its old and new threshold, and what the new one does on the photos (percent; None: nothing to
    measure). ``positives`` is the number of photos that show it; without one the threshold stays as it was."""

    label: str
    before: float
    after: float
    positives: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class CalibrationReport:
    """What a calibration changed.

    Attributes:
        objective: ``f1``, ``precision=P`` or ``recall=R``.
        images: how many photos the thresholds were chosen on.
        before, after: CP, CR, CF1, OP, OR, OF1 in percent on those photos, at the old and the new thresholds.
        labels: each label, in the model's order.
        missed: labels that no threshold brings to the precision or recall asked for.
        failed_images: photos that could not be tagged, with the reason.
        written: whether the plan has the new thresholds now.
    """

    objective: str
    images: int
    before: dict[str, float | None]
    after: dict[str, float | None]
    labels: list[CalibratedLabel]
    missed: list[str]
    failed_images: list[dict[str, str]]
    written: bool

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


def calibrate(
    plan: str | os.PathLike[str],
    images: str | Path,
    table: LabelTable,
    objective: Objective,
    *,
    write: bool = True,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> CalibrationReport:
    """Choose each label's threshold on the photos of ``table`` and write them into the plan's manifest and label bank.

    The plan itself and all else in the manifest stay as they are. Labels without a positive photo keep their threshold.

    Args:
        images: the folder that the table's file names are relative to.
        table: from :func:`pvlr_sdk.labels_csv.read_labels` with the plan's labels as ``names``.
        write: False only reports.
        progress: called after each photo with the number of photos done.
        options: ``device``, ``num_threads`` and ``precision`` of the tagger.

    Raises:
        BundleError, OptionError, ImageNotFoundError, FrameError: as :class:`Tagger` and ``evaluate``.
        LabelsFileError: not one photo shows a label.
        OutputError: the files can't be written; the old thresholds stay.
    """
    bundle = Bundle.open(plan)
    with Tagger(plan, optimize="throughput", **options) as tagger:
        photos = tag_photos(tagger, images, table, progress)
    scores, targets = photos.scores[photos.done], table.targets[photos.done]
    if not (targets == 1).any():
        raise errors.LabelsFileError(
            "labels",
            expected="photos that show at least one of the plan's labels",
            got=f"{len(targets)} photos without one",
            hint="Check the split and the label map.",
        )
    old = bundle.labels.thresholds
    chosen = choose_thresholds(photos.logits[photos.done], targets, objective, old.astype(np.float64))
    new = chosen.astype(np.float32)  # what is stored, and compared with scores
    labels = [
        CalibratedLabel(
            name,
            shortest(old[i]),
            shortest(new[i]),
            int((targets[:, i] == 1).sum()),
            *_precision_recall(scores[:, i] >= new[i], targets[:, i]),
        )
        for i, name in enumerate(bundle.labels.names)
    ]
    if write:
        write_thresholds(bundle, new)
    return CalibrationReport(
        objective=str(objective),
        images=len(targets),
        before=_percent(f1_scores(scores >= old, targets)),
        after=_percent(f1_scores(scores >= new, targets)),
        labels=labels,
        missed=[label.label for label in labels if label.positives and not _reached(label, objective)],
        failed_images=photos.failed,
        written=write,
    )


def _reached(label: CalibratedLabel, objective: Objective) -> bool:
    if objective.kind == "f1":
        return True
    figure = label.precision if objective.kind == "precision" else label.recall
    return figure is not None and figure >= 100 * objective.value


def _precision_recall(tagged: Any, target: Any) -> tuple[float | None, float | None]:
    hits = int((tagged & (target == 1)).sum())
    tags, present = int((tagged & (target != 0)).sum()), int((target == 1).sum())
    return (100 * hits / tags if tags else None), (100 * hits / present if present else None)


def _percent(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else round(100 * value, 3) for name, value in figures.items()}
