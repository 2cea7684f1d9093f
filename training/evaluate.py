"""Predictions of a model on a dataset, and their metrics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from pvlr_sdk.labels.thresholds import sigmoid
from pvlr_sdk.workshop.evaluation.metrics import (
    calibration_error,
    f1_scores,
    mean_average_precision,
    top_k,
)

from .data.augmentation import Views
from .data.images import ImageDataset
from .model.heads import Output

Floats = NDArray[np.float64]


@torch.inference_mode()
def predict_logits(
    model: Callable[[torch.Tensor], Output],
    dataset: ImageDataset,
    views: Views,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - a constant
    advance: Callable[[int], None] = lambda count: None,
) -> Floats:
    """Logits (n, C) of the whole images, preprocessed as deployed, in the precision of the current autocast.

    ``advance`` is called with the number of images predicted since the last call.
    """
    rows = []
    for images in views.batches(dataset):
        rows.append(
            model(images.to(device, memory_format=torch.channels_last)).logits.double().cpu()
        )
        advance(len(images))
    return torch.cat(rows).numpy()


def measure(
    logits: Floats, targets: NDArray[np.int8], thresholds: Floats | None = None
) -> dict[str, float]:
    """mAP and, with thresholds (C,), CP to OF1 of all tags and of the top 3 (CP_top3, ...), and ECE; in percent."""
    metrics = {"mAP": mean_average_precision(logits, targets)}
    if thresholds is not None:
        scores = sigmoid(logits)
        metrics["ECE"] = calibration_error(scores, targets)
        tagged = scores >= thresholds
        metrics |= f1_scores(tagged, targets)
        top3 = f1_scores(top_k(logits, 3, tagged), targets)
        metrics |= {f"{name}_top3": value for name, value in top3.items()}
    return {name: round(100 * value, 2) for name, value in metrics.items()}
