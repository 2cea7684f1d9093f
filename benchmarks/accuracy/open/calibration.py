"""How much the scores of words can be trusted: calibrated on some labels, measured on others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from pvlr_sdk.evaluation.metrics import f1_scores
from pvlr_sdk.labels.knowledge import Calibration
from pvlr_sdk.labels.thresholds import Objective, choose_thresholds, sigmoid

Floats = NDArray[np.float64]


def calibrate(standardised: Floats, targets: NDArray[np.int8]) -> Calibration:
    """One logistic regression and one threshold of each operating point for all labels.

    Args:
        standardised: (N, C), scores of words.
        targets: (N, C).
    """
    scores, truth = standardised.ravel(), targets.ravel()
    model = LogisticRegression(C=1e6).fit(scores[:, None], truth == 1)
    scale, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    logits = scale * scores + offset
    chosen = (
        float(choose_thresholds(logits[:, None], truth[:, None], Objective.parse(text))[0])
        for text in ("f1", "precision=0.9")
    )
    threshold, precise = chosen
    return Calibration(*(round(value, 3) for value in (scale, offset, threshold, max(threshold, precise))))


def trust(standardised: Floats, targets: NDArray[np.int8], calibration: Calibration) -> dict[str, float]:
    """In percent: precision and recall of the tags (all labels together) at both thresholds, and how often labels with
    a score of about 0.1, 0.3 and 0.6 are present."""
    scores = sigmoid(calibration.scale * standardised + calibration.offset)
    found = {}
    for name, level in (("f1", calibration.threshold), ("precise", calibration.precise_threshold)):
        measured = f1_scores(scores >= level, targets)
        found |= {f"{name} precision": measured["OP"], f"{name} recall": measured["OR"]}
    for low, middle, high in ((0.05, 0.1, 0.2), (0.2, 0.3, 0.45), (0.45, 0.6, 0.8)):
        within = (scores >= low) & (scores < high)
        found[f"present at {middle}"] = float((targets[within] == 1).mean()) if within.any() else float("nan")
    return {name: round(100 * value, 1) for name, value in found.items()}
