"""PVLR's head: dual-modal attention, then the similarity between visual tokens and context-aware labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..dma import DualModalAttention
from . import Output

if TYPE_CHECKING:
    from ..config import ModelConfig


class VisualHead(nn.Module):
    """Dual-modal attention between tokens and label bank, then the similarity between the two."""

    def __init__(
        self, channels: int, grid: tuple[int, int], labels: int, config: ModelConfig
    ) -> None:
        super().__init__()
        width = config.width
        self.project = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)
        self.position = (
            nn.Parameter(torch.zeros(grid[0] * grid[1], width))
            if config.position == "learned"
            else None
        )
        self.dropout = nn.Dropout(config.dropout)
        layers = config.layers if config.dma != "none" else 0
        self.dma = nn.ModuleList(
            DualModalAttention(width, config.heads, config.ffn, config.dropout, config.dma)
            for _ in range(layers)
        )
        self.predict = SimilarityHead(labels)

    @torch.no_grad()
    def resize(self, before: tuple[int, int], grid: tuple[int, int]) -> None:
        """Interpolate the learned positions from the grid ``before`` (rows, columns) to another one."""
        if self.position is not None:
            self.position = nn.Parameter(resized_positions(self.position, before, grid))

    @property
    def alpha(self) -> float:
        """A label's map is softmax_n(alpha * similarity)."""
        return self.predict.alpha

    def calibrate(self, scale: float, offsets: Tensor) -> None:
        """Scale the logits and add offsets (C,), in the weights; maps stay."""
        self.predict.calibrate(scale, offsets)

    def forward(self, tokens: Tensor, bank: Tensor, mask: Tensor | None = None) -> Output:
        """Tokens (B, N, channels), label bank (C, d); ``mask`` (C,) is 1 for a label, 0 for padding."""
        visual = self.norm(self.project(tokens))
        if self.position is not None:
            visual = visual + self.position
        visual = self.dropout(visual)
        labels = bank.unsqueeze(0)
        for layer in self.dma:
            visual, labels = layer(visual, labels, mask)
        return Output(*self.predict(visual, labels))


def resized_positions(position: Tensor, before: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Learned positions (N, d) of the grid ``before`` (rows, columns), interpolated for another one."""
    new = functional.interpolate(
        position.T.unflatten(1, before).unsqueeze(0), grid, mode="bicubic", antialias=True
    )
    return new[0].flatten(1).T.contiguous()


class SimilarityHead(nn.Module):
    """X' (B, N, d), T' (B or 1, C, d) -> logits (B, C) and similarity s (B, N, C).

    s_nc = scale * cos(X'_n, T'_c); logit_c = sum_n softmax_n(alpha s_nc) s_nc + b_c. ``scale``, ``alpha`` and b are
    learned.
    """

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(12.0).log())
        self.log_alpha = nn.Parameter(torch.tensor(0.5).log())
        # most labels are absent from most images
        self.bias = nn.Parameter(torch.full((labels,), -3.0))

    @property
    def alpha(self) -> float:
        """The sharpness of the soft pooling over tokens, and of a label's map."""
        return float(self.log_alpha.detach().exp())

    @torch.no_grad()
    def calibrate(self, scale: float, offsets: Tensor) -> None:
        """Scale the logits and add offsets (C,): s becomes larger and alpha smaller, so that their product stays."""
        self.log_scale.add_(math.log(scale))
        self.log_alpha.sub_(math.log(scale))
        self.bias.mul_(scale).add_(offsets)

    def forward(self, visual: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        cosine = unit(visual) @ unit(labels).transpose(-1, -2)
        similarity = self.log_scale.exp() * cosine
        pooled = ((self.log_alpha.exp() * similarity).softmax(1) * similarity).sum(1)
        return pooled + self.bias, similarity


def unit(x: Tensor) -> Tensor:
    """x / |x| along the last axis, in fewer ONNX operators than F.normalize exports."""
    return x * x.square().sum(-1, keepdim=True).rsqrt()
