"""The baseline: one linear layer on the average-pooled features."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

    def forward(self, tokens: Tensor, bank: Tensor) -> Output:
        """Tokens (B, N, channels); the label bank is not used."""
        return Output(self.classify(self.dropout(tokens.mean(1))), self.classify(tokens))
