"""The figures of one run on one set of photos, as plain JSON values: shares 0..1, None where nothing is measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.metrics import average_precision, cumulative_counts, f1_scores, nan_mean
from pvlr_sdk.thresholds import sigmoid

Floats = NDArray[np.float64]

_RECALLS = 200  # of a curve: more than a screen shows
_LEVELS = 100  # recall levels of the mean curve


def figures(labels: tuple[str, ...], logits: Floats, targets: NDArray[np.int8], thresholds: Floats) -> dict[str, Any]:
    """Everything that the page shows of a run in numbers.

    Args:
        logits: (n, C) float64.
        targets: (n, C): 1 present, -1 absent, 0 unknown (left out everywhere).
        thresholds: (C,) on the score.
    """
    tagged = sigmoid(logits) >= thresholds
    classes = [
        _class_figures(label, logits[:, c], targets[:, c], tagged[:, c], float(thresholds[c]))
        for c, label in enumerate(labels)
    ]
    measured = np.array([np.nan if one["ap"] is None else one["ap"] for one in classes])
    return {
        "mAP": _number(nan_mean(measured)),
        **{name: _number(value) for name, value in f1_scores(tagged, targets).items()},
        "classes": classes,
        "macro": [_number(value) for value in mean_curve(logits, targets)],
        "confusions": confusions(tagged, targets),
    }


def _class_figures(
    label: str, logits: Floats, targets: NDArray[np.int8], tagged: NDArray[np.bool_], threshold: float
) -> dict[str, Any]:
    known = targets != 0
    hits = int((tagged & (targets == 1)).sum())
    positives, tags = int((targets == 1).sum()), int((tagged & known).sum())
    curve = precision_recall_curve(logits, targets)
    return {
        "label": label,
        "photos": int(known.sum()),
        "positives": positives,
        "ap": _number(average_precision(logits, targets)),
        "threshold": _number(threshold),
        "precision": _number(hits / tags) if tags else None,
        "recall": _number(hits / positives) if positives else None,
        "curve": [[_number(value) for value in point] for point in curve.tolist()],
    }


def precision_recall_curve(logits: Floats, targets: NDArray[np.int8]) -> Floats:
    """Points (k, 2) of recall and precision of one label, recall rising; (0, 2) without a positive photo.

    For each recall the highest and the lowest precision that has it; of more than 200 recalls an even selection with
    both ends.
    """
    _, hits, retrieved = cumulative_counts(logits, targets)
    if not hits.size or not hits[-1]:
        return np.empty((0, 2))
    highest = np.flatnonzero(np.diff(hits, prepend=0))
    lowest = np.append(highest[1:], len(hits)) - 1
    if len(highest) > _RECALLS:
        chosen = np.linspace(0, len(highest) - 1, _RECALLS).round().astype(int)
        highest, lowest = highest[chosen], lowest[chosen]
    points = np.unique(np.concatenate([highest, lowest]))
    return np.stack([hits[points] / hits[-1], hits[points] / retrieved[points]], axis=1)


def mean_curve(logits: Floats, targets: NDArray[np.int8]) -> Floats:
    """Mean over the labels with a positive photo of the best precision at recall >= 0, 0.01, ..., 1: (101,)."""
    curves = []
    for score, target in zip(logits.T, targets.T, strict=True):
        _, hits, retrieved = cumulative_counts(score, target)
        if hits.size and hits[-1]:
            best_from_here = np.maximum.accumulate((hits / retrieved)[::-1])[::-1]
            # In whole numbers, free of rounding: hits / positives >= i / 100.
            curves.append(best_from_here[np.searchsorted(hits * _LEVELS, np.arange(_LEVELS + 1) * hits[-1])])
    return np.mean(curves, axis=0) if curves else np.empty(0)


def confusions(tagged: NDArray[np.bool_], targets: NDArray[np.int8]) -> list[list[int]]:
    """Of the photos that show label a, how many are tagged with b, which they don't show: rows [a, b, how many, of].

    ``of`` are the photos that show a and are known not to show b. Pairs that never happen have no row; the most
    frequent come first.
    """
    present, absent = (targets == 1).astype(np.int64), (targets == -1).astype(np.int64)
    added = present.T @ (absent * tagged)
    possible = present.T @ absent
    rows = [[int(a), int(b), int(added[a, b]), int(possible[a, b])] for a, b in zip(*np.nonzero(added), strict=True)]
    return sorted(rows, key=lambda row: (-row[2], row[3], row[0], row[1]))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 5)
