"""Losses for multi-label classification; unknown labels are masked."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def asymmetric_loss(
    logits: Tensor, targets: Tensor, gamma_neg: float, gamma_pos: float, clip: float, smoothing: float = 0.0
) -> Tensor:
    """ASL (Ridnik et al. 2021, eq. 4 to 7), summed over the known labels, mean over the batch.

    Args:
        logits: (B, C).
        targets: (B, C), 1 present, -1 absent, 0 unknown (masked).
        smoothing: how far a certain target is drawn towards one half: 1 becomes 1 - smoothing / 2.
    """
    probability = logits.sigmoid()
    # sigmoid(-x) keeps its precision where 1 - sigmoid(x) has rounded to 0.
    absent = ((-logits).sigmoid() + clip).clamp(max=1)
    positive, negative = _shares(targets, logits.dtype, smoothing)
    with torch.no_grad():
        positive = positive * (1 - probability).pow(gamma_pos)
        negative = negative * (1 - absent).pow(gamma_neg)
    return -(positive * F.logsigmoid(logits) + negative * absent.clamp(min=1e-8).log()).sum() / logits.shape[0]


def binary_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Binary cross-entropy, summed over the known labels, mean over the batch; arguments as above."""
    positive, _ = _shares(targets, logits.dtype, smoothing)
    each = F.binary_cross_entropy_with_logits(logits, positive, reduction="none")
    return (each * (targets != 0)).sum() / logits.shape[0]


def _shares(targets: Tensor, dtype: torch.dtype, smoothing: float) -> tuple[Tensor, Tensor]:
    """How much each target counts as present and as absent; both are 0 where it is unknown."""
    present, absent = (targets == 1).to(dtype), (targets == -1).to(dtype)
    half = smoothing / 2
    return (1 - half) * present + half * absent, (1 - half) * absent + half * present
