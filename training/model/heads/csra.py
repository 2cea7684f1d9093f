"""CSRA: class-specific residual attention (Zhu and Wu 2021, arXiv 2108.02456)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import Output

if TYPE_CHECKING:
    from ..config import ModelConfig

_MAXIMUM = float("inf")

_TEMPERATURES = {
    1: (1,),
    2: (1, _MAXIMUM),
    4: (1, 2, 4, _MAXIMUM),
    6: (1, 2, 3, 4, 5, _MAXIMUM),
    8: (1, 2, 3, 4, 5, 6, 7, _MAXIMUM),
}
"""The paper's temperatures for each number of heads; infinity is the maximum over the tokens."""


class CsraHead(nn.Module):
    """logit_c = sum_h [mean_n s_nc + lambda sum_n softmax_n(T_h s_nc) s_nc], with s_nc = w_hc . x_n / |w_hc|.

    The classifiers have no bias, as in the paper. ``similarity`` is s_nc, summed over the heads.
    """

    alpha = 1.0

    def __init__(self, channels: int, grid: tuple[int, int], labels: int, config: ModelConfig) -> None:
        super().__init__()
        self.weight = config.csra.weight
        self.temperatures = _TEMPERATURES[config.csra.heads]
        self.classifiers = nn.ModuleList(nn.Linear(channels, labels, bias=False) for _ in self.temperatures)

    def forward(self, tokens: Tensor, bank: Tensor) -> Output:
        """Tokens (B, N, channels); the label bank is not used."""
        logits, similarity = [], []
        for temperature, classify in zip(self.temperatures, self.classifiers, strict=True):
            scores = tokens @ (classify.weight / classify.weight.norm(dim=1, keepdim=True)).T
            logits.append(scores.mean(1) + self.weight * _attend(scores, temperature))
            similarity.append(scores)
        return Output(torch.stack(logits).sum(0), torch.stack(similarity).sum(0))


def _attend(scores: Tensor, temperature: float) -> Tensor:
    """Scores (B, N, C) -> (B, C): a mean over the tokens, weighted by the softmax of the scores."""
    if temperature == _MAXIMUM:
        return scores.amax(1)
    return ((temperature * scores).softmax(1) * scores).sum(1)
