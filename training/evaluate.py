"""Scores of a model over photos, the official measures, and thresholds per label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from pvlr_sdk.metrics import f1_scores, mean_average_precision

from .data import Photos, Views, image_batches
from .heads import Output

Floats = NDArray[np.float64]

_SHRINK = 20  # positives at which a label's own threshold weighs as much as the common one


@torch.inference_mode()
def predict_logits(model: Callable[[torch.Tensor], Output], photos: Photos, views: Views, batch: int = 32) -> Floats:
    """Logits (n, C) of the whole photos, as deployed; in the precision of the surrounding autocast."""
    rows = []
    for images, _ in image_batches(photos, list(range(len(photos))), batch, lambda image, _: views.plain(image)):
        rows.append(model(images.to(memory_format=torch.channels_last)).logits.double())
    return torch.cat(rows).numpy()


def measure(logits: Floats, targets: NDArray[np.int8], thresholds: Floats | None = None) -> dict[str, float]:
    """mAP and, where thresholds (C,) are given, CP to OF1; in percent."""
    figures = {"mAP": mean_average_precision(logits, targets)}
    if thresholds is not None:
        figures |= f1_scores(sigmoid(logits) >= thresholds, targets)
    return {name: round(100 * value, 2) for name, value in figures.items()}


def calibrate(logits: Floats, targets: NDArray[np.int8]) -> Floats:
    """Thresholds (C,) on the score, each the best F1 of its label on these photos.

    With few positives the best threshold is mostly chance: it is drawn towards the common one (the best overall F1)
    as far as positives are lacking, n / (n + 20) in logits.
    """
    common = _best_f1(logits.ravel(), targets.ravel())
    thresholds = []
    for column, target in zip(logits.T, targets.T, strict=True):
        count = int((target == 1).sum())
        own = _best_f1(column, target) if count else common
        weight = count / (count + _SHRINK)
        thresholds.append(weight * own + (1 - weight) * common)
    return np.clip(sigmoid(np.array(thresholds)), 0.05, 0.95)


def _best_f1(logits: Floats, targets: NDArray[np.int8]) -> float:
    """The cut between two neighbouring logits that gives the best F1."""
    known = targets != 0
    order = np.argsort(-logits[known], kind="stable")
    sorted_logits = logits[known][order]
    hits = np.cumsum(targets[known][order] == 1)
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
    best = int(f1.argmax())
    below = sorted_logits[min(best + 1, len(sorted_logits) - 1)]
    return float((sorted_logits[best] + below) / 2)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))
