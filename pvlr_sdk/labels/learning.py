"""Learns labels from the features of images, and measures them by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..bundle.label_bank import LabelBank
from .edit import LinearFunction, with_label
from .fit import Fit, Floats, contradictions, fit
from .intervals import expected, reweighted
from .precision_recall import average_precision
from .thresholds import choose_thresholds, precise_thresholds, sigmoid
from .words import THRESHOLD

OTHERS = 1000
"""Number of other photos on which the intervals hold."""
_NOT_KEPT = {"label", "threshold", "precise_threshold", "advice", "mistakes", "harmful"}
"""What the label bank does not keep of a report: it has neither photos nor their names."""
_FEW = 16
"""Photos that show a label: up to this many, words improve it."""


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
        words: whether its words, or what the label was before, count too.
        threshold, precise_threshold: at the operating points ``f1`` and ``precise``.
        precision, recall: at ``threshold``.
        precision_interval, recall_interval: where they are on other photos of this kind, in 95 of 100 cases.
        prevalence: the share of photos that show the label, in percent, for which thresholds, precision and its
            interval hold.
        advice: what would improve the label most, as a sentence.
        average_precision: of the scores.
        words_average_precision: of the words alone; None without words.
        mistakes: the worst first.
        harmful: the photo that hurts the label most: all others contradict it most (leave-one-out). None if they
            contradict none, or with fewer than three photos of a kind.
    """

    label: str
    positives: int
    negatives: int
    words: bool
    threshold: float
    precise_threshold: float
    precision: float | None
    recall: float | None
    precision_interval: tuple[float, float] | None
    recall_interval: tuple[float, float] | None
    prevalence: float
    advice: str
    average_precision: float | None
    words_average_precision: float | None
    mistakes: list[Mistake]
    harmful: str | None = None


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
    prevalence: float | None = None,
) -> tuple[LabelBank, list[LabelReport]]:
    """Learn labels of a bank from images whose features are known: milliseconds for a few hundred.

    Args:
        bank: has the labels already, see :func:`.edit.add_labels`.
        labels: the C labels to learn.
        images: names of the N images, for the reports.
        features: (N, D) of unit length, ``TagResult.features`` of an open plan.
        targets: (N, C): 1 present, -1 absent, 0 unknown.
        plan: SHA-256 of the plan that computed the features.
        words: what the words of some labels say of the images; other labels are learned from the images alone; None: no
            label can start from words.
        prevalence: how frequent the labels are where they are used, between 0 and 1; None: as in the images.

    Raises:
        OptionError: a label has no image that shows it, or none that does not; the prevalence is not between 0 and 1.
    """
    check_both(labels, targets)
    check_prevalence(prevalence)
    reports = []
    for column, label in enumerate(labels):
        answered = np.flatnonzero(targets[:, column])
        present = targets[answered, column] == 1
        of_words = (words or {}).get(label)
        logits = None if of_words is None else of_words.logits[answered]
        fitted = fit(features[answered], logits, present)
        files = [images[row] for row in answered.tolist()]
        report = _report(label, fitted, logits, present, files, prevalence)
        report = replace(report, harmful=_harmful(features[answered], present, files))
        if words is not None and of_words is None and report.positives <= _FEW:
            report = replace(
                report, advice=f"{report.advice[:-1]}, or give it a name that pvlr words knows."
            )
        thresholds = report.threshold, report.precise_threshold
        source = {
            name: value for name, value in asdict(report).items() if name not in _NOT_KEPT
        } | {"plan": plan}
        bank = with_label(
            bank, label, fitted, thresholds, source, None if of_words is None else of_words.function
        )
        reports.append(report)
    return bank, reports


def _harmful(features: Floats, present: NDArray[np.bool_], files: Sequence[str]) -> str | None:
    """The file of :attr:`LabelReport.harmful`."""
    if min(present.sum(), (~present).sum()) < 3:
        return None
    contradicted = contradictions(features, present)
    return files[int(contradicted.argmax())] if contradicted.max() > 0 else None


def check_both(
    labels: Sequence[str], targets: NDArray[np.int8], failed: Sequence[dict[str, str]] = ()
) -> None:
    """Raises OptionError unless each label has an image that shows it, and one that does not; targets as above, and
    ``failed`` the images that could not be read, positives first."""
    for label, target in zip(labels, targets.T, strict=True):
        for wanted, what, argument in (
            (1, "shows", "positives"),
            (-1, "does not show", "negatives"),
        ):
            if not (target == wanted).any():
                expected = f"at least one readable photo that {what} {label!r}"
                unread = (
                    f"; not read: {failed[0 if wanted == 1 else -1]['message'].rstrip('.')}"
                    if failed
                    else ""
                )
                raise errors.OptionError(
                    argument,
                    expected,
                    f"none{unread}",
                    "Add some; 10 that show it and 50 that do not are a good start.",
                )


def check_prevalence(prevalence: float | None) -> None:
    """Raises OptionError unless it is None, or between 0 and 1."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise errors.OptionError(
            "prevalence",
            "a share of photos between 0 and 1",
            str(prevalence),
            "0.02 means that 2 of 100 photos show the label.",
        )


def _report(
    label: str,
    fitted: Fit,
    words: Floats | None,
    present: NDArray[np.bool_],
    files: list[str],
    prevalence: float | None,
) -> LabelReport:
    positives = int(present.sum())
    negatives = int((~present).sum())
    share = positives / len(present) if prevalence is None else prevalence
    counts = positives, negatives, words is not None
    if fitted.checked is None:
        few = "that show it" if positives < 2 else "that do not show it"
        advice = f"Add examples {few}: with a single one, nothing can be measured."
        unknown = None, None, None, None
        return LabelReport(
            label, *counts, THRESHOLD, THRESHOLD, *unknown, 100 * share, advice, None, None, []
        )
    logits = fitted.checked[:, None]
    targets = np.where(present, 1, -1).astype(np.int8)[:, None]
    shares = None if prevalence is None else np.array([share])
    chosen_on = (logits, targets) if shares is None else reweighted(logits, targets, shares)
    f1 = choose_thresholds(*chosen_on)
    threshold, precise = (
        float(np.float32(values[0])) for values in (f1, precise_thresholds(*chosen_on, f1))
    )
    scores = sigmoid(fitted.checked)
    tagged = scores >= threshold
    right = share * tagged[present].mean()
    wrong = (1 - share) * tagged[~present].mean()
    intervals = expected(logits, tagged[:, None], targets, prevalence=shares, others=OTHERS)
    precision, recall = (
        (100 * interval.low, 100 * interval.high) for interval in (intervals["OP"], intervals["OR"])
    )
    lacks_others = precision[0] < recall[0]
    worse = np.flatnonzero(~present if lacks_others else present)
    hardest = files[worse[np.argmin(np.where(present, scores, -scores)[worse])]]
    kind = "that do not show it and resemble" if lacks_others else "that show it and resemble"
    mistaken = np.flatnonzero(tagged != present)
    mistakes = [
        Mistake(files[row], "added" if tagged[row] else "missed", round(float(scores[row]), 4))
        for row in mistaken[np.argsort(-np.abs(scores[mistaken] - threshold), kind="stable")]
    ]
    return LabelReport(
        label,
        *counts,
        threshold,
        precise,
        100 * float(right / (right + wrong)) if tagged.any() else None,
        100 * float(tagged[present].mean()),
        precision,
        recall,
        100 * share,
        f"Add examples {kind} {hardest}.",
        100 * average_precision(fitted.checked, targets[:, 0]),
        None if words is None else 100 * average_precision(words, targets[:, 0]),
        mistakes,
    )
