"""Query2Label (Liu et al. 2021, arXiv 2107.10834), without its encoder layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pvlr_sdk.errors import ConfigError

from . import Output
from .decoder import DecoderLayer, attention_similarity

if TYPE_CHECKING:
    from ..config import ModelConfig


class Query2LabelHead(nn.Module):
    """One learned query per label attends to the tokens in ``layers`` decoder layers; logit_c = w_c . q_c + b_c.

    Keys carry a sine position code, values do not. Tokens have no scores: ``similarity`` is the logarithm of the last
    layer's cross-attention, averaged over the heads, so that a label's map is that attention.
    """

    alpha = 1.0

    def __init__(self, channels: int, grid: tuple[int, int], labels: int, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.project = nn.Linear(channels, width)
        self.queries = nn.Parameter(torch.randn(labels, width))
        self.register_buffer("position", sine_position(*grid, width), persistent=False)
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.heads, config.ffn, config.dropout, self_attention=True)
            for _ in range(config.layers)
        )
        self.weight = nn.Parameter(torch.empty(labels, width).uniform_(-(width**-0.5), width**-0.5))
        self.bias = nn.Parameter(torch.full((labels,), -3.0))  # most labels are absent from most images

    def resize(self, before: tuple[int, int], grid: tuple[int, int]) -> None:
        """The position code of another grid (rows, columns)."""
        self.position = sine_position(*grid, self.position.shape[1])

    def forward(self, tokens: Tensor, bank: Tensor) -> Output:
        """Tokens (B, N, channels); the label bank is not used."""
        values = self.project(tokens)
        keys = values + self.position
        queries = self.queries.unsqueeze(0)
        for layer in self.layers:
            queries, weights = layer(queries, keys, values)
        return Output((queries * self.weight).sum(-1) + self.bias, attention_similarity(weights))


def sine_position(rows: int, columns: int, width: int) -> Tensor:
    """DETR's position code (rows * columns, width): half of the channels encode y, half x, in 0..2 pi."""
    if width % 4:
        hint = "The position code has four channels per frequency."
        raise ConfigError("model.width", expected="a multiple of 4", got=str(width), hint=hint)
    period = 10_000 ** (torch.arange(width // 4) * 4 / width)
    codes = []
    for count in (rows, columns):
        angle = torch.arange(1, count + 1)[:, None] / count * 2 * torch.pi / period
        codes.append(torch.stack([angle.sin(), angle.cos()], -1).flatten(1))
    y, x = codes
    return torch.cat([y[:, None].expand(-1, columns, -1), x[None].expand(rows, -1, -1)], -1).flatten(0, 1)
