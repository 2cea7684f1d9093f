"""The precision-recall curve of one class in float64 NumPy, and the average precision.

Targets are 1 (present), -1 (absent) and 0 (unknown, or ignored as VOC's difficult objects); a 0 is not counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import errors

Floats = NDArray[np.float64]


def average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """Area under the raw precision-recall curve of one class: sum over thresholds of (R_k - R_k-1) P_k.

    Equal scores share one threshold, so the order of the images does not matter (as in scikit-learn's
    ``average_precision_score``).

    Args:
        scores: (N,), higher means more likely present; logits and scores give the same result.
        targets: (N,) of 1, 0, -1.

    Raises:
        OptionError: different lengths, a target other than 1, 0, -1, or a score that is NaN.
    """
    _, hits, retrieved = cumulative_counts(scores, targets)
    if not hits.size or not hits[-1]:
        return float("nan")
    return float(np.sum(np.diff(hits, prepend=0) * (hits / retrieved)) / hits[-1])


def cumulative_counts(
    scores: ArrayLike, targets: ArrayLike
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """The distinct scores of one class in descending order, with the number of positives and examples at or above each.

    Returns three arrays (K,): scores, positives, examples. Arguments and errors as for
    :func:`average_precision`.
    """
    score = np.asarray(scores, dtype=np.float64)
    target = np.asarray(targets)
    if score.ndim != 1 or score.shape != target.shape:
        raise errors.OptionError(
            "scores",
            "two arrays (N,) of the same length",
            f"scores {score.shape} and targets {target.shape}",
            "Call it once per class, or use per_class for (N, C) arrays.",
        )
    check_values(score, target)
    answered = target != 0
    score = score[answered]
    positive = target[answered] > 0
    order = np.argsort(-score, kind="stable")
    score = score[order]
    positive = positive[order]
    last_of_its_score = np.append(score[1:] != score[:-1], True)[: score.size]
    ends = np.flatnonzero(last_of_its_score)
    hits = np.cumsum(positive, dtype=np.int64)[ends]
    return score[ends], hits, ends.astype(np.int64) + 1


def check_values(score: Floats, target: NDArray[np.generic]) -> None:
    """Raises OptionError for a score that is NaN, and for a target other than 1, 0, -1."""
    if np.isnan(score).any():
        raise errors.OptionError(
            "scores",
            "numbers",
            f"{int(np.isnan(score).sum())} NaN",
            "Check the computation of the scores.",
        )
    if not np.isin(target, (-1, 0, 1)).all():
        odd = target[~np.isin(target, (-1, 0, 1))].flat[0]
        raise errors.OptionError(
            "targets",
            "1 (present), -1 (absent) or 0 (unknown)",
            str(odd),
            "Convert 0/1 targets with 2 * targets - 1.",
        )
