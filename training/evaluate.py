"""Scores of a model over photos, and the official measures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from pvlr_sdk.metrics import f1_scores, mean_average_precision, top_k
from pvlr_sdk.thresholds import sigmoid

from .data import Photos, Views, image_batches
from .heads import Output

Floats = NDArray[np.float64]


@torch.inference_mode()
def predict_logits(
    model: Callable[[torch.Tensor], Output],
    photos: Photos,
    views: Views,
    batch: int = 32,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - a constant
) -> Floats:
    """Logits (n, C) of the whole photos, as deployed; in the precision of the surrounding autocast."""
    rows = []
    for images, _ in image_batches(photos, list(range(len(photos))), batch, lambda image, _: views.plain(image)):
        rows.append(model(images.to(device, memory_format=torch.channels_last)).logits.double().cpu())
    return torch.cat(rows).numpy()


def measure(logits: Floats, targets: NDArray[np.int8], thresholds: Floats | None = None) -> dict[str, float]:
    """mAP and, where thresholds (C,) are given, CP to OF1 of all tags and of the top 3 (CP_top3, ...); in percent."""
    figures = {"mAP": mean_average_precision(logits, targets)}
    if thresholds is not None:
        tagged = sigmoid(logits) >= thresholds
        figures |= f1_scores(tagged, targets)
        top3 = f1_scores(top_k(logits, 3, tagged), targets)
        figures |= {f"{name}_top3": value for name, value in top3.items()}
    return {name: round(100 * value, 2) for name, value in figures.items()}
