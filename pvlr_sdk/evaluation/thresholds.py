"""Thresholds chosen on labelled images, by training and by ``pvlr thresholds``, which writes them to a plan."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .evaluate import tag_images
from .labels_csv import LabelTable
from .metrics import cumulative_counts, f1_scores

Floats = NDArray[np.float64]

_SHRINK = 20  # number of positives at which a label's own threshold weighs as much as the common one

_FEW = 10  # number of positives below which one wrong tag is too many for a precision of 0.9

_F1_RANGE = (0.05, 0.95)
_RANGE = (1e-6, 1 - 1e-6)


@dataclass(frozen=True)
class Objective:
    """The objective of a threshold: ``f1``, or ``value`` as the minimum ``precision`` or ``recall``."""

    kind: Literal["f1", "precision", "recall"] = "f1"
    value: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Parse ``f1``, ``precision=0.9`` or ``recall=0.9``; raises OptionError for anything else."""
        kind, separator, number = text.partition("=")
        if text == "f1":
            return cls()
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if kind not in ("precision", "recall") or not separator or not 0 < value <= 1:
            raise errors.OptionError(
                "--objective",
                expected="f1, precision=P or recall=R with a number above 0 and up to 1",
                got=repr(text),
                hint="An example is precision=0.9.",
            )
        return cls(cast(Literal["precision", "recall"], kind), value)

    def __str__(self) -> str:
        return self.kind if self.kind == "f1" else f"{self.kind}={self.value:g}"


PRECISE = Objective("precision", 0.9)
"""The objective of the operating point ``precise``."""


def choose_thresholds(
    logits: Floats,
    targets: NDArray[np.int8],
    objective: Objective = Objective(),
    fallback: Floats | None = None,
) -> Floats:
    """Thresholds (C,) on the score, for each label.

    *f1*: the best F1. With few positives it is mostly chance, so the threshold is shrunk towards the common one (the
    best overall F1): with n positives, its own weighs n / (n + 20), in logits. The range is 0.05 to 0.95.
    *precision*: the lowest threshold with this precision; if none has it, the one with the highest precision.
    *recall*: the highest threshold with this recall. Both hold exactly on these images, but not necessarily on others
    where a label has few positives.

    Args:
        logits: (N, C).
        targets: (N, C), 1 present, -1 absent, 0 unknown (ignored).
        fallback: (C,) thresholds of labels without a positive image; None for the common threshold.

    Raises:
        OptionError: arrays that are not both (N, C), or a target other than 1, 0, -1.
    """
    logits, targets = np.asarray(logits, np.float64), np.asarray(targets)
    positives = (targets == 1).sum(0)
    common = _cut(logits.ravel(), targets.ravel(), objective) if positives.any() else 0.0
    cuts = np.full(logits.shape[1], common)
    for label in np.flatnonzero(positives):
        own = _cut(logits[:, label], targets[:, label], objective)
        weight = positives[label] / (positives[label] + _SHRINK) if objective.kind == "f1" else 1.0
        cuts[label] = weight * own + (1 - weight) * common
    chosen: Floats = np.clip(sigmoid(cuts), *(_F1_RANGE if objective.kind == "f1" else _RANGE))
    return chosen if fallback is None else np.where(positives > 0, chosen, fallback)


def precise_thresholds(logits: Floats, targets: NDArray[np.int8], thresholds: Floats) -> Floats:
    """Thresholds (C,) of the operating point ``precise``, none below ``thresholds``.

    The lowest threshold with a precision of at least 0.9 on these images; if none has it, just above the highest score
    of an image without the label, so that no tag on these images is wrong. A label with fewer than 10 positives, which
    are too few to measure that precision, gets at least the common threshold: the lowest with that precision over the
    tags of all labels, if there is one.

    Args:
        logits, targets: as for :func:`choose_thresholds`.
        thresholds: (C,), those of the operating point ``f1``.
    """
    logits, targets = np.asarray(logits, np.float64), np.asarray(targets)
    common = _precise_cut(logits.ravel(), targets.ravel())
    cuts = np.empty(logits.shape[1])
    for label, columns in enumerate(zip(logits.T, targets.T, strict=True)):
        own, (scores, target) = _precise_cut(*columns), columns
        if own is None:
            own = scores[target == -1].max(initial=-np.inf) + 0.1
        few = (target == 1).sum() < _FEW
        cuts[label] = max(own, common) if few and common is not None else own
    return np.maximum(np.clip(sigmoid(cuts), *_RANGE), thresholds)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) in float64, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


@dataclass(frozen=True)
class LabelThreshold:
    """Old and new threshold of a label, its number of positive images, and precision and recall of the new threshold on
    these images (in percent; None if there is nothing to measure); ``precise`` is the new threshold of the operating
    point ``precise``, with its precision and recall. Without positives the thresholds do not change."""

    label: str
    before: float
    after: float
    positives: int
    precision: float | None
    recall: float | None
    precise: float
    precise_precision: float | None
    precise_recall: float | None


@dataclass(frozen=True)
class ThresholdsReport:
    """The change of a plan's thresholds.

    Attributes:
        objective: ``f1``, ``precision=P`` or ``recall=R``.
        images: number of images that the thresholds were chosen on.
        before, after: CP, CR, CF1, OP, OR, OF1 in percent on these images, at the old and the new thresholds.
        precise: the same at the new thresholds of the operating point ``precise``.
        labels: the labels, in the order of the model.
        missed: labels for which no threshold meets the objective.
        failed_images: images that could not be tagged, with the reason.
        written: whether the new thresholds were written to the plan.
    """

    objective: str
    images: int
    before: dict[str, float | None]
    after: dict[str, float | None]
    precise: dict[str, float | None]
    labels: list[LabelThreshold]
    missed: list[str]
    failed_images: list[dict[str, str]]
    written: bool

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


def set_thresholds(
    plan: str | os.PathLike[str],
    images: str | Path,
    table: LabelTable,
    objective: Objective,
    *,
    write: bool = True,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> ThresholdsReport:
    """Choose the thresholds of each label on the images of ``table``, and write them to the manifest and label bank.

    Those of the operating point ``f1`` follow ``objective``, those of ``precise`` are :func:`precise_thresholds`.
    Nothing else in the bundle changes. Labels without a positive image keep their thresholds.

    Args:
        images: folder that the file names of the table are relative to.
        table: from :func:`pvlr_sdk.evaluation.labels_csv.read_labels` with the labels of the plan as ``names``.
        write: False to report only.
        progress: called after each image with the number of images done.
        options: ``device``, ``num_threads`` and ``precision`` of the tagger.

    Raises:
        BundleError, OptionError, ImageNotFoundError, FrameError: as :class:`Tagger` and ``evaluate``.
        LabelsFileError: no image has a positive label.
        OutputError: the files cannot be written; the old thresholds remain.
    """
    from ..bundle.bundle import Bundle, shortest, write_thresholds
    from ..tagger import Tagger

    bundle = Bundle.open(plan)
    with Tagger(plan, optimize="throughput", **options) as tagger:
        results = tag_images(tagger, images, table, progress)
    scores, targets = results.scores[results.done], table.targets[results.done]
    if not (targets == 1).any():
        raise errors.LabelsFileError(
            "labels",
            expected="images with at least one of the plan's labels",
            got=f"{len(targets)} images without one",
            hint="Check the split and the label map.",
        )
    old = bundle.labels.thresholds
    old_precise = old if bundle.labels.precise_thresholds is None else bundle.labels.precise_thresholds
    logits, positives = results.logits[results.done], (targets == 1).sum(0)
    chosen = choose_thresholds(logits, targets, objective, old.astype(np.float64))
    higher = np.where(positives > 0, precise_thresholds(logits, targets, chosen), old_precise)
    new, precise = chosen.astype(np.float32), higher.astype(np.float32)  # as stored, and compared with scores
    labels = [
        LabelThreshold(
            name,
            shortest(old[i]),
            shortest(new[i]),
            int(positives[i]),
            *_precision_recall(scores[:, i] >= new[i], targets[:, i]),
            shortest(precise[i]),
            *_precision_recall(scores[:, i] >= precise[i], targets[:, i]),
        )
        for i, name in enumerate(bundle.labels.names)
    ]
    if write:
        write_thresholds(bundle, new, precise)
    return ThresholdsReport(
        objective=str(objective),
        images=len(targets),
        before=_percentages(f1_scores(scores >= old, targets)),
        after=_percentages(f1_scores(scores >= new, targets)),
        precise=_percentages(f1_scores(scores >= precise, targets)),
        labels=labels,
        missed=[label.label for label in labels if label.positives and not _reached(label, objective)],
        failed_images=results.failed,
        written=write,
    )


def _cut(logits: Floats, targets: NDArray[np.int8], objective: Objective) -> float:
    """The logit, midway between two neighbours, that meets the objective; there must be a positive."""
    levels, hits, tagged = cumulative_counts(logits, targets)
    precision, recall = hits / tagged, hits / hits[-1]
    if objective.kind == "f1":
        best = int((2 * hits / (tagged + hits[-1])).argmax())
    elif objective.kind == "recall":
        best = int((recall >= objective.value).argmax())
    else:
        # The last one is the lowest threshold, which has the highest recall.
        best = int(np.flatnonzero(precision >= min(objective.value, precision.max()))[-1])
    below = levels[best + 1] if best + 1 < len(levels) else levels[best] - 0.1
    return float((levels[best] + below) / 2)


def _precise_cut(logits: Floats, targets: NDArray[np.int8]) -> float | None:
    """The lowest logit with the precision of :data:`PRECISE`; None: no logit has it."""
    if not (targets == 1).any():
        return None
    _, hits, tagged = cumulative_counts(logits, targets)
    return _cut(logits, targets, PRECISE) if (hits / tagged >= PRECISE.value).any() else None


def _reached(label: LabelThreshold, objective: Objective) -> bool:
    if objective.kind == "f1":
        return True
    value = label.precision if objective.kind == "precision" else label.recall
    return value is not None and value >= 100 * objective.value


def _precision_recall(tagged: Any, target: Any) -> tuple[float | None, float | None]:
    hits = int((tagged & (target == 1)).sum())
    tags, present = int((tagged & (target != 0)).sum()), int((target == 1).sum())
    return (100 * hits / tags if tags else None), (100 * hits / present if present else None)


def _percentages(fractions: dict[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else round(100 * value, 3) for name, value in fractions.items()}
