"""Measures of multi-label tagging in float64 NumPy: average precision, precision, recall and F1.

Targets are 1 (present), -1 (absent) and 0 (unknown, or ignored as VOC's difficult objects); a 0 is not counted in any
measure. Every measure is a fraction, 0..1, and NaN where a class has no positive example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import errors
from ...labels.precision_recall import average_precision, check_values, cumulative_counts

Floats = NDArray[np.float64]


def average_precision_11pt(scores: ArrayLike, targets: ArrayLike) -> float:
    """Mean of the best precision at recall >= 0, 0.1, ..., 1 for one class: the measure of the VOC 2007 devkit.

    Arguments and errors as for :func:`average_precision`. The recall is compared in integers, without rounding,
    and equal scores share one threshold (for these, the devkit's result depends on the order of the images).
    """
    _, hits, retrieved = cumulative_counts(scores, targets)
    if not hits.size or not hits[-1]:
        return np.nan
    best_from_here = np.maximum.accumulate((hits / retrieved)[::-1])[::-1]
    # The first threshold of each recall. All exist because the last threshold has recall 1.
    return float(best_from_here[np.searchsorted(hits * 10, np.arange(11) * hits[-1])].mean())


def per_class(
    scores: ArrayLike,
    targets: ArrayLike,
    measure: Callable[[ArrayLike, ArrayLike], float] = average_precision,
) -> Floats:
    """Average precision of each class: (C,) from (N, C) scores and targets.

    Raises:
        OptionError: as in :func:`average_precision`; arrays that are not (N, C).
    """
    scores, targets = _matrices(scores, targets)
    columns = zip(scores.T, targets.T, strict=True)
    return np.array([measure(score, target) for score, target in columns], dtype=np.float64)


def mean_average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """Mean average precision of the classes that have a positive example; (N, C) scores and targets.

    NaN if no class has one. Raises OptionError like :func:`per_class`.
    """
    return nan_mean(per_class(scores, targets))


CALIBRATION_BINS = 15


def calibration_error(scores: ArrayLike, targets: ArrayLike) -> float:
    """Expected calibration error (Naeini et al. 2015): how far scores are from the share of cells that are present.

    Over all images and labels, in 15 bins of equal width: the mean of the difference between the mean score of a bin
    and the share of its targets that are 1, weighted by how many are in the bin.

    Args:
        scores: (N, C), probabilities in 0..1.
        targets: (N, C).

    Returns:
        A fraction; NaN if nothing is known.

    Raises:
        OptionError: as :func:`per_class`.
    """
    scores, targets = _matrices(scores, targets)
    known = targets != 0
    if not known.any():
        return np.nan
    score = scores[known]
    present = targets[known] == 1
    bins = np.minimum((score * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    excess = np.bincount(bins, score - present)
    return float(np.abs(excess).sum() / len(score))


FEW_IMAGES = 50
FEW_POSITIVES = 10


def doubts(labels: Sequence[str], targets: ArrayLike) -> list[str]:
    """Sentences about measures that mean little, because too few of the images (N, C) show a label, or at all."""
    targets = np.asarray(targets)
    texts = []
    if len(targets) < FEW_IMAGES:
        texts.append(
            f"{len(targets)} images are too few for reliable metrics; measure on at least {FEW_IMAGES}."
        )
    positives = dict(zip(labels, (targets == 1).sum(0).tolist(), strict=True))
    if rare := [
        f"{label} ({count})" for label, count in positives.items() if 0 < count < FEW_POSITIVES
    ]:
        more = f" and {len(rare) - 8} more" if len(rare) > 8 else ""
        texts.append(
            f"fewer than {FEW_POSITIVES} images with {', '.join(rare[:8])}{more}: their metrics are chance."
        )
    return texts


def f1_scores(predicted: ArrayLike, targets: ArrayLike) -> dict[str, float]:
    """Precision, recall and F1 of tag sets: ``CP``, ``CR``, ``CF1`` (per class) and ``OP``, ``OR``, ``OF1`` (overall).

    CP and CR are means over the classes that have a positive example, CF1 is the harmonic mean of CP and CR, as in
    the multi-label literature. A class that is never predicted has precision 0.

    Args:
        predicted: (N, C) bool, the tags, such as ``scores >= thresholds``.
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
    return {
        "CP": cp,
        "CR": cr,
        "CF1": _harmonic(cp, cr),
        "OP": op,
        "OR": or_,
        "OF1": _harmonic(op, or_),
    }


def top_k(scores: ArrayLike, k: int, tagged: ArrayLike | None = None) -> NDArray[np.bool_]:
    """The labels with the k highest scores of each image: (N, C) bool, the tags of "top-3" measures.

    Among equal scores the first label wins. Labels with unknown targets are ranked too, since a tagger does not know
    which are unknown.

    Args:
        scores: (N, C).
        k: at least 1; if there are fewer labels, all are chosen.
        tagged: (N, C) bool; labels that are not tagged are not chosen, as in the literature (ML-GCN, Chen et al.
            2019): at most three tags per image, each at or above its threshold.

    Raises:
        OptionError: arrays that are not both (N, C), a score that is NaN, or a ``k`` below 1.
    """
    score = np.asarray(scores, dtype=np.float64)
    allowed = (
        np.ones(score.shape, np.bool_) if tagged is None else np.asarray(tagged, dtype=np.bool_)
    )
    score, _ = _matrices(score, np.where(allowed, 1, -1))
    if k < 1:
        raise errors.OptionError("k", "at least 1", str(k), "A common value is 3.")
    chosen = np.zeros(score.shape, np.bool_)
    np.put_along_axis(chosen, np.argsort(-score, axis=1, kind="stable")[:, :k], True, axis=1)
    return chosen & allowed


def nan_mean(values: Floats) -> float:
    """Mean of the values that are not NaN; NaN, without a warning, if there are none."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else float("nan")


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else a + b  # 0 or NaN


def _matrices(scores: ArrayLike, targets: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    score = np.asarray(scores, dtype=np.float64)
    target = np.asarray(targets)
    if score.ndim != 2 or score.shape != target.shape:
        raise errors.OptionError(
            "scores",
            "two arrays (N, C) of the same shape",
            f"{score.shape} and targets {target.shape}",
            "Use one row per image and one column per class.",
        )
    check_values(score, target)
    return score, target.astype(np.int64)
