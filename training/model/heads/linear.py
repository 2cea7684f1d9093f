"""The baseline: one linear layer on the average-pooled features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import Output

if TYPE_CHECKING:
    from ..config import ModelConfig


class LinearHead(nn.Module):
    """logit_c = w_c . mean_n(x_n) + b_c.

    ``similarity`` is the class activation map (Zhou et al. 2016), w_c . x_n + b_c: its mean over n is the logit.
    """

    alpha = 1.0

    def __init__(
        self, channels: int, grid: tuple[int, int], labels: int, config: ModelConfig
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(channels, labels)
        nn.init.constant_(self.classify.bias, -3.0)  # most labels are absent from most images

    @torch.no_grad()
    def calibrate(self, scale: float, offsets: Tensor) -> None:
        """Scale the logits and add offsets (C,), in the weights; ``similarity`` is scaled too, ``alpha`` inversely."""
        self.classify.weight.mul_(scale)
        self.classify.bias.mul_(scale).add_(offsets)
        self.alpha = self.alpha / scale

    def forward(self, tokens: Tensor, bank: Tensor) -> Output:
        """Tokens (B, N, channels); the label bank is not used."""
        return Output(self.classify(self.dropout(tokens.mean(1))), self.classify(tokens))
