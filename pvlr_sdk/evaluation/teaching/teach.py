"""Teaches labels from photos: reads the photos, fits each label, and measures it by cross-validation."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...bundle.bundle import read_manifest
from ...bundle.catalogue import find_plan
from ...bundle.labels import LabelBank
from ...bundle.manifest import OpenSpec
from ...bundle.open_labels import check_fits
from ...tagger import Tagger
from ...words.knowledge import Knowledge
from ..metrics import average_precision
from ..thresholds import choose_thresholds, precise_thresholds, sigmoid
from .bank import THRESHOLD, evidence_of, with_label, with_room
from .fit import Fit, Floats, fit
from .photos import Photos, failure


@dataclass(frozen=True)
class Mistake:
    """A photo that cross-validation gets wrong at the label's threshold: ``missed`` or ``added``."""

    file: str
    kind: str
    score: float


@dataclass(frozen=True)
class LabelReport:
    """What was learned of a label. Measures are in percent, by cross-validation, each photo scored by a classifier that
    has not seen it; None if it has too few photos for that.

    Attributes:
        label: its name.
        positives, negatives: number of photos that show it, and that do not.
        words: whether its words count too.
        threshold, precise_threshold: those of the operating points ``f1`` and ``precise``.
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
class Teaching:
    """The label bank with the taught labels, a report on each, and the photos that could not be read."""

    bank: LabelBank
    labels: list[LabelReport]
    failed: list[dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """The reports as plain JSON values."""
        return {"labels": [asdict(label) for label in self.labels], "failed_images": self.failed}


def teach(
    plan: str | os.PathLike[str],
    photos: Photos,
    *,
    bank: LabelBank | None = None,
    words: bool = True,
    replace: bool = False,
    knowledge: Knowledge | None = None,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> Teaching:
    """Learn labels from photos, and add them to a label bank.

    A new label starts from its words if the plan reads words, and from nothing otherwise; a label of the bank starts
    from the vector that it has.

    Args:
        plan: an open plan.
        photos: what to learn from.
        bank: the bank to add to; None: that of the plan.
        words: False to learn from the photos alone.
        replace: also teach labels that the bank has.
        knowledge: what words mean for the image features of this plan; for labels without a vector of their own.
        progress: called after each photo with the number of photos done.
        options: ``device``, ``num_threads`` and ``precision`` of the tagger.

    Raises:
        BundleError, OptionError: as for ``Tagger``.
        BackendError: the plan is closed.
        LabelBankError: the bank or the knowledge was made for another model, or there is no room for the labels.
        OptionError: a label is there already, or has no readable photo that shows it, or none that does not.
        MissingPartError: words need the extra ``[words]``.
    """
    with Tagger(plan, optimize="throughput", **options) as tagger:
        base = tagger.label_bank if bank is None else bank
        tagger.set_labels(base)  # checks both
        spec = read_manifest(find_plan(plan)).open
        assert spec is not None, "set_labels refuses a closed plan"
        _check_new(photos.labels, base, replace)
        _check_photos(photos, np.ones(len(photos.files), np.bool_))
        worded = base
        if knowledge is not None and words:
            worded = knowledge.bank(photos.labels)
            check_fits(worded, spec, "knowledge")
        taught = with_room(base, photos.labels, spec, words and knowledge is None)
        tagger.set_labels(_plain(taught))
        features, logits, done, failed = _read(tagger, photos, spec, progress)
        plan_hash = tagger.info["sha256"]
    _check_photos(photos, done)
    reports = []
    for column, label in enumerate(photos.labels):
        known = done & (photos.targets[:, column] != 0)
        rows, index = np.flatnonzero(known), taught.index(label)
        seen, of_words, evidence = features[known], None, None
        if words and taught.has_words[index]:
            of_words = logits[known, index]
        elif words and (evidence := evidence_of(worded, label)):
            of_words = seen @ evidence.weights + evidence.bias
        present = photos.targets[known, column] == 1
        fitted = fit(seen, of_words, present)
        report = _report(label, fitted, of_words, present, [str(photos.files[row]) for row in rows])
        source = {
            "positives": report.positives,
            "negatives": report.negatives,
            "words": report.words,
            "plan": plan_hash,
        }
        thresholds = report.threshold, report.precise_threshold
        taught = with_label(taught, label, fitted, thresholds, source, evidence)
        reports.append(report)
    return Teaching(taught, reports, [*photos.failed, *failed])


def _check_new(labels: list[str], base: LabelBank, replace: bool) -> None:
    there = [label for label in labels if label in base.names]
    if there and not replace:
        got, hint = f"{there[0]!r}, which the bank has", "Choose another name, or teach it again with --replace."
        raise errors.OptionError("label", expected="a new label", got=got, hint=hint)


def _check_photos(photos: Photos, done: NDArray[np.bool_]) -> None:
    for label, target in zip(photos.labels, photos.targets[done].T, strict=True):
        for wanted, what, argument in ((1, "shows", "positives"), (-1, "does not show", "negatives")):
            if not (target == wanted).any():
                expected = f"at least one readable photo that {what} {label!r}"
                hint = "Add some; 10 that show it and 50 that do not are a good start."
                raise errors.OptionError(argument, expected=expected, got="none", hint=hint)


def _plain(bank: LabelBank) -> LabelBank:
    """The bank with which the network gives the logits of the words alone."""
    return LabelBank(bank.names, bank.embeddings, bank.thresholds, bank.text)


def _read(
    tagger: Tagger, photos: Photos, spec: OpenSpec, progress: Callable[[int], None] | None
) -> tuple[Floats, Floats, NDArray[np.bool_], list[dict[str, str]]]:
    """Features (N, D) and logits (N, labels) of the photos, which of them could be read, and those that could not."""
    count = len(photos.files)
    features, logits = np.zeros((count, spec.feature_width)), np.zeros((count, len(tagger.labels)))
    done, failed = np.zeros(count, np.bool_), []
    for row, outcome in enumerate(tagger.predict_stream(photos.files)):
        if isinstance(outcome, errors.FrameError):
            failed.append(failure(str(photos.files[row]), outcome))
        else:
            features[row], logits[row], done[row] = outcome.features, outcome.logits, True
        if progress:
            progress(row + 1)
    return features, logits, done, failed


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
