"""The measures of multi-label tagging, in float64 NumPy: average precision and precision/recall/F1.

Targets are 1 (present), -1 (absent) and 0 (unknown, or ignored as VOC's difficult objects): a 0 takes no part in any
of these numbers. Everything is returned as a fraction, 0..1; NaN where a class has no positive example.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import errors

Floats = NDArray[np.float64]


def average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """Area under the raw precision-recall curve of one class: sum over thresholds of (R_k - R_k-1) P_k.

    Equal scores share one threshold, so the order of the images never matters (as in scikit-learn's
    ``average_precision_score``).

    Args:
        scores: (N,), higher means more surely present; logits and scores give the same result.
        targets: (N,) of 1, 0, -1.

    Raises:
        OptionError: different lengths, a target other than 1, 0, -1, or a score that is NaN.
    """
    _, hits, retrieved = cumulative_counts(scores, targets)
    if not hits.size or not hits[-1]:
        return float("nan")
    return float(np.sum(np.diff(hits, prepend=0) * (hits / retrieved)) / hits[-1])


def average_precision_11pt(scores: ArrayLike, targets: ArrayLike) -> float:
    """Mean of the best precision at recall >= 0, 0.1, ..., 1 for one class: the measure of the VOC 2007 devkit.

    Arguments and errors as in :func:`average_precision`. The recall is compared in whole numbers, free of rounding,
    and equal scores share one threshold (the devkit's result depends on the order of the images there).
    """
    _, hits, retrieved = cumulative_counts(scores, targets)
    if not hits.size or not hits[-1]:
        return float("nan")
    best_from_here = np.maximum.accumulate((hits / retrieved)[::-1])[::-1]
    # The first threshold with hits / positives >= i / 10. All eleven exist, since the last threshold has recall 1.
    first = np.searchsorted(hits * 10, np.arange(11) * hits[-1])
    return float(best_from_here[first].mean())


def per_class(measure: str, scores: ArrayLike, targets: ArrayLike) -> Floats:
    """Average precision of each class: (C,) from (N, C) scores and targets; ``measure`` is ``"ap"`` or ``"ap_11pt"``.

    Raises:
        OptionError: as in :func:`average_precision`, or arrays that are not (N, C), or another ``measure``.
    """
    functions = {"ap": average_precision, "ap_11pt": average_precision_11pt}
    if measure not in functions:
        raise errors.OptionError("measure", expected="'ap' or 'ap_11pt'", got=repr(measure), hint="Choose one of them.")
    scores, targets = _matrices(scores, targets)
    columns = zip(scores.T, targets.T, strict=True)
    return np.array([functions[measure](score, target) for score, target in columns], dtype=np.float64)


def mean_average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """Mean of the average precisions of all classes that have a positive example; (N, C) scores and targets.

    NaN if no class has one. Raises OptionError as :func:`per_class`.
    """
    return nan_mean(per_class("ap", scores, targets))


def f1_scores(predicted: ArrayLike, targets: ArrayLike) -> dict[str, float]:
    """Precision, recall and F1 of tag sets: ``CP``, ``CR``, ``CF1`` (per class) and ``OP``, ``OR``, ``OF1`` (overall).

    CP and CR are means over the classes that have a positive example, CF1 is the harmonic mean of CP and CR, as in
    the multi-label literature. A class that is never predicted has precision 0.

    Args:
        predicted: (N, C) bool, what was tagged (for instance ``scores >= thresholds``).
        targets: (N, C) of 1, 0, -1.

    Raises:
        OptionError: arrays that are not both (N, C), or a target other than 1, 0, -1.
    """
    predicted, targets = _matrices(predicted, targets)
    tagged = (predicted > 0) & (targets != 0)
    hits: Floats = np.count_nonzero(tagged & (targets > 0), axis=0).astype(np.float64)
    tags: Floats = np.count_nonzero(tagged, axis=0).astype(np.float64)
    present: Floats = np.count_nonzero(targets > 0, axis=0).astype(np.float64)
    counted = present > 0

    cp = nan_mean(hits[counted] / np.maximum(tags[counted], 1))
    cr = nan_mean(hits[counted] / present[counted])
    all_present = float(present.sum())
    op = float(hits.sum() / max(tags.sum(), 1)) if all_present else float("nan")
    or_ = float(hits.sum() / all_present) if all_present else float("nan")
    return {"CP": cp, "CR": cr, "CF1": _harmonic(cp, cr), "OP": op, "OR": or_, "OF1": _harmonic(op, or_)}


def top_k(scores: ArrayLike, k: int, tagged: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Which labels are among the k highest scores of their image: (N, C) bool, what "top-3" measures count as tagged.

    Equal scores: the first label wins. Unknown targets have no say in it, since a tagger doesn't know them.

    Args:
        scores: (N, C).
        k: at least 1; with fewer labels all of them are chosen.
        tagged: (N, C) bool; a label that is not tagged is not chosen either. That is how the literature counts
            (ML-GCN, Chen et al. 2019): at most three tags an image, each above its threshold.

    Raises:
        OptionError: arrays that are not both (N, C), a score that is NaN, or a ``k`` below 1.
    """
    score = np.asarray(scores, dtype=np.float64)
    allowed = np.ones(score.shape, np.bool_) if tagged is None else np.asarray(tagged, dtype=np.bool_)
    score, _ = _matrices(score, np.where(allowed, 1, -1))
    if k < 1:
        raise errors.OptionError("k", expected="at least 1", got=str(k), hint="Three is usual.")
    chosen = np.zeros(score.shape, np.bool_)
    np.put_along_axis(chosen, np.argsort(-score, axis=1, kind="stable")[:, :k], True, axis=1)
    return chosen & allowed


def cumulative_counts(scores: ArrayLike, targets: ArrayLike) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Each distinct score of one class from the highest down, and how many positives, and examples, are at or above it.

    Returns three arrays (K,): scores, positives, examples. Arguments and errors as in :func:`average_precision`.
    """
    score = np.asarray(scores, dtype=np.float64)
    target = np.asarray(targets)
    if score.ndim != 1 or score.shape != target.shape:
        raise errors.OptionError(
            "scores",
            expected="two arrays (N,) of the same length",
            got=f"scores {score.shape} and targets {target.shape}",
            hint="Call it once for each class, or use per_class for (N, C) arrays.",
        )
    _check_values(score, target)
    known = target != 0
    score, positive = score[known], target[known] > 0
    order = np.argsort(-score, kind="stable")
    score, positive = score[order], positive[order]
    last_of_its_score = np.append(score[1:] != score[:-1], True)[: score.size]
    ends = np.flatnonzero(last_of_its_score)
    hits = np.cumsum(positive, dtype=np.int64)[ends]
    return score[ends], hits, ends.astype(np.int64) + 1


def nan_mean(values: Floats) -> float:
    """Mean of the values that are not NaN; NaN if there is none (and no warning)."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else a + b  # 0, or NaN handed on


def _matrices(scores: ArrayLike, targets: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    score = np.asarray(scores, dtype=np.float64)
    target = np.asarray(targets)
    if score.ndim != 2 or score.shape != target.shape:
        raise errors.OptionError(
            "scores",
            expected="two arrays (N, C) of the same shape",
            got=f"{score.shape} and targets {target.shape}",
            hint="One row an image, one column a class.",
        )
    _check_values(score, target)
    return score, target.astype(np.int64)


def _check_values(score: Floats, target: NDArray[np.generic]) -> None:
    if np.isnan(score).any():
        raise errors.OptionError(
            "scores", expected="numbers", got=f"{int(np.isnan(score).sum())} NaN", hint="Look at what made the scores."
        )
    if not np.isin(target, (-1, 0, 1)).all():
        odd = target[~np.isin(target, (-1, 0, 1))].flat[0]
        raise errors.OptionError(
            "targets",
            expected="1 (present), -1 (absent) or 0 (unknown)",
            got=str(odd),
            hint="In 0/1 targets write 2 * targets - 1.",
        )
