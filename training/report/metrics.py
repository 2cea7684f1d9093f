"""The metrics of one run as JSON values: shares 0..1, None if undefined."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.labels.intervals import expected
from pvlr_sdk.labels.precision_recall import average_precision, cumulative_counts
from pvlr_sdk.labels.thresholds import sigmoid
from pvlr_sdk.workshop.evaluation.metrics import doubts, f1_scores, nan_mean

Floats = NDArray[np.float64]

RECALLS = (50, 70, 90)
"""The recalls, in percent, at which the page shows what precision another threshold would have."""


def run_metrics(
    labels: tuple[str, ...],
    logits: Floats,
    targets: NDArray[np.int8],
    thresholds: Floats,
    prevalence: Floats | None = None,
) -> dict[str, Any]:
    """All numbers that the page shows about a run.

    Args:
        logits: (n, C) float64.
        targets: (n, C): 1 present, -1 absent, 0 unknown (ignored).
        thresholds: (C,) on the score.
        prevalence: (C,) the share of images with each label where the run's plan is used, if it is known.
    """
    tagged = sigmoid(logits) >= thresholds
    own = (targets == 1).sum(0) / np.maximum((targets != 0).sum(0), 1)
    classes = [
        _label_metrics(label, logits[:, c], targets[:, c], tagged[:, c], float(thresholds[c]))
        for c, label in enumerate(labels)
    ]
    measured = np.array([np.nan if one["ap"] is None else one["ap"] for one in classes])
    return {
        "mAP": _number(nan_mean(measured)),
        "expected": [
            {
                "shares": {
                    label: _number(share) for label, share in zip(labels, shares, strict=True)
                },
                **{
                    name: [_number(one.value), _number(one.low), _number(one.high)]
                    for name, one in expected(logits, tagged, targets, prevalence=at).items()
                },
            }
            for shares, at in ((own, None), (prevalence, prevalence))
            if shares is not None
        ],
        "doubts": doubts(labels, targets),
        **{name: _number(value) for name, value in f1_scores(tagged, targets).items()},
        "classes": classes,
        "confusions": confusions(tagged, targets),
    }


def _label_metrics(
    label: str,
    logits: Floats,
    targets: NDArray[np.int8],
    tagged: NDArray[np.bool_],
    threshold: float,
) -> dict[str, Any]:
    known = targets != 0
    hits = int((tagged & (targets == 1)).sum())
    positives = int((targets == 1).sum())
    tags = int((tagged & known).sum())
    return {
        "label": label,
        "images": int(known.sum()),
        "positives": positives,
        "ap": _number(average_precision(logits, targets)),
        "threshold": _number(threshold),
        "precision": _number(hits / tags) if tags else None,
        "recall": _number(hits / positives) if positives else None,
        "precision_at_recall": precisions_at_recalls(logits, targets),
    }


def precisions_at_recalls(logits: Floats, targets: NDArray[np.int8]) -> list[float | None]:
    """The highest precision of one label at or above each recall of ``RECALLS``; None without a positive image."""
    _, hits, retrieved = cumulative_counts(logits, targets)
    if not hits.size or not hits[-1]:
        return [None] * len(RECALLS)
    precisions = hits / retrieved
    return [_number(float(precisions[100 * hits >= recall * hits[-1]].max())) for recall in RECALLS]


def confusions(tagged: NDArray[np.bool_], targets: NDArray[np.int8]) -> list[list[int]]:
    """Rows [a, b, count, of]: ``of`` images have label a and not b, and ``count`` of them are tagged with b.

    Pairs with count 0 have no row; the most frequent come first.
    """
    present = (targets == 1).astype(np.int64)
    absent = (targets == -1).astype(np.int64)
    added = present.T @ (absent * tagged)
    possible = present.T @ absent
    rows = [
        [int(a), int(b), int(added[a, b]), int(possible[a, b])]
        for a, b in zip(*np.nonzero(added), strict=True)
    ]
    return sorted(rows, key=lambda row: (-row[2], row[3], row[0], row[1]))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 5)
