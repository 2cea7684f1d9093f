"""Learns labels from the features of images, and measures them by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..bundle.label_bank import LabelBank
from .edit import THRESHOLD, LinearFunction, with_label
from .fit import Fit, Floats, fit
from .precision_recall import average_precision
from .thresholds import choose_thresholds, precise_thresholds, sigmoid


@dataclass(frozen=True)
class Mistake:
    """A photo that cross-validation gets wrong at the label's threshold: ``missed`` or ``added``."""

    file: str
    kind: Literal["missed", "added"]
    score: float


@dataclass(frozen=True)
class LabelReport:
    """What was learned of a label. Measures are in percent, by cross-validation, each photo scored by a classifier that
    has not seen it; None if it has too few photos for that.

    Attributes:
        label: its name.
        positives, negatives: number of photos that show it, and that do not.
        words: whether its words count too.
        threshold, precise_threshold: at the operating points ``f1`` and ``precise``.
        precision, recall: at ``threshold``.
        average_precision: of the scores.
        words_average_precision: of the words alone; None without words.
        mistakes: the worst first.
    """

    label: str
    positives: int
    negatives: int
    words: bool
    threshold: float
    precise_threshold: float
    precision: float | None
    recall: float | None
    average_precision: float | None
    words_average_precision: float | None
    mistakes: list[Mistake]


@dataclass(frozen=True)
class Words:
    """What the words of a label say of N images: logits (N,), and of which features they are a linear function."""

    logits: Floats
    function: LinearFunction | None = None


def learn(
    bank: LabelBank,
    labels: Sequence[str],
    images: Sequence[str],
    features: Floats,
    targets: NDArray[np.int8],
    *,
    plan: str,
    words: Mapping[str, Words] | None = None,
) -> tuple[LabelBank, list[LabelReport]]:
    """Learn labels of a bank from images whose features are known: milliseconds for a few hundred.

    Args:
        bank: has the labels already, see :func:`.edit.add_labels`.
        labels: the C labels to learn.
        images: names of the N images, for the reports.
        features: (N, D) of unit length, ``TagResult.features`` of an open plan.
        targets: (N, C): 1 present, -1 absent, 0 unknown.
        plan: SHA-256 of the plan that computed the features.
        words: what the words of some labels say of the images; other labels are learned from the images alone.

    Raises:
        OptionError: a label has no image that shows it, or none that does not.
    """
    check_both(labels, targets)
    reports = []
    for column, label in enumerate(labels):
        known = np.flatnonzero(targets[:, column])
        present, of_words = targets[known, column] == 1, (words or {}).get(label)
        logits = None if of_words is None else of_words.logits[known]
        fitted = fit(features[known], logits, present)
        report = _report(label, fitted, logits, present, [images[row] for row in known.tolist()])
        source = {
            "positives": report.positives,
            "negatives": report.negatives,
            "words": report.words,
            "plan": plan,
        }
        thresholds = report.threshold, report.precise_threshold
        bank = with_label(bank, label, fitted, thresholds, source, None if of_words is None else of_words.function)
        reports.append(report)
    return bank, reports


def check_both(labels: Sequence[str], targets: NDArray[np.int8], failed: Sequence[dict[str, str]] = ()) -> None:
    """Raises OptionError unless each label has an image that shows it, and one that does not; targets as above, and
    ``failed`` the images that could not be read, positives first."""
    for label, target in zip(labels, targets.T, strict=True):
        for wanted, what, argument in ((1, "shows", "positives"), (-1, "does not show", "negatives")):
            if not (target == wanted).any():
                expected = f"at least one readable photo that {what} {label!r}"
                unread = f"; not read: {failed[0 if wanted == 1 else -1]['message']}" if failed else ""
                hint = "Add some; 10 that show it and 50 that do not are a good start."
                raise errors.OptionError(argument, expected=expected, got=f"none{unread}", hint=hint)


def _report(label: str, fitted: Fit, words: Floats | None, present: NDArray[np.bool_], files: list[str]) -> LabelReport:
    positives = int(present.sum())
    counts = positives, len(present) - positives, words is not None
    if fitted.checked is None:
        return LabelReport(label, *counts, THRESHOLD, THRESHOLD, None, None, None, None, [])
    targets = np.where(present, 1, -1).astype(np.int8)
    f1 = choose_thresholds(fitted.checked[:, None], targets[:, None])
    threshold, precise = (float(np.float32(of[0])) for of in (
        f1, precise_thresholds(fitted.checked[:, None], targets[:, None], f1)))  # fmt: skip
    scores = sigmoid(fitted.checked)
    tagged = scores >= threshold
    hits = int((tagged & present).sum())
    wrong = np.flatnonzero(tagged != present)
    mistakes = [
        Mistake(files[row], "added" if tagged[row] else "missed", round(float(scores[row]), 4))
        for row in wrong[np.argsort(-np.abs(scores[wrong] - threshold), kind="stable")]
    ]
    return LabelReport(
        label,
        *counts,
        threshold,
        precise,
        100 * hits / int(tagged.sum()) if tagged.any() else None,
        100 * hits / positives,
        100 * average_precision(fitted.checked, targets),
        None if words is None else 100 * average_precision(words, targets),
        mistakes,
    )
