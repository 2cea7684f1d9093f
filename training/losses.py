"""Losses for multi-label classification; unknown labels are masked."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def asymmetric_loss(logits: Tensor, targets: Tensor, gamma_neg: float, gamma_pos: float, clip: float) -> Tensor:
    """ASL (Ridnik et al. 2021, eq. 4 to 7), summed over the known labels, mean over the batch.

    Args:
        logits: (B, C).
        targets: (B, C), 1 present, -1 absent, 0 unknown (masked).
    """
    probability = logits.sigmoid()
    # sigmoid(-x) keeps its precision where 1 - sigmoid(x) has rounded to 0.
    absent = ((-logits).sigmoid() + clip).clamp(max=1)
    positive = (targets == 1).to(logits.dtype)
    negative = (targets == -1).to(logits.dtype)
    log_likelihood = positive * F.logsigmoid(logits) + negative * absent.clamp(min=1e-8).log()
    with torch.no_grad():
        weight = positive * (1 - probability).pow(gamma_pos) + negative * (1 - absent).pow(gamma_neg)
    return -(weight * log_likelihood).sum() / logits.shape[0]


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, summed over the known labels, mean over the batch; arguments as above."""
    each = F.binary_cross_entropy_with_logits(logits, (targets == 1).to(logits.dtype), reduction="none")
    return (each * (targets != 0)).sum() / logits.shape[0]
