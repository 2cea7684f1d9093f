"""ML-Decoder with group decoding (Ridnik et al. 2021, arXiv 2111.12933)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import Output
from .decoder import DecoderLayer, attention_similarity

if TYPE_CHECKING:
    from ..config import ModelConfig


class MlDecoderHead(nn.Module):
    """K fixed random queries attend to the tokens, without self-attention; each predicts g = ceil(C / K) labels.

    logit_c = W_kj . q_k + b_c with k = c div g and j = c mod g. K is ``ml_decoder.groups``, at most C: with K = C
    every label has its own query (the paper's full decoding). Tokens have no scores: ``similarity`` is the logarithm of
    the cross-attention of the label's query, averaged over the heads; the labels of a group share one map.
    """

    alpha = 1.0

    def __init__(self, channels: int, grid: tuple[int, int], labels: int, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.labels = labels
        size = -(-labels // min(config.ml_decoder.groups, labels))
        # 100 groups for 120 labels are 60 queries of two labels; the paper's other 40 would predict nothing.
        groups = -(-labels // size)
        self.project = nn.Linear(channels, width)
        self.register_buffer("queries", torch.randn(groups, width))
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.heads, config.ffn, config.dropout, self_attention=False)
            for _ in range(config.layers)
        )
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(groups, width, size)))
        self.bias = nn.Parameter(torch.full((labels,), -3.0))  # most labels are absent from most images
        self.register_buffer("group_of", torch.arange(labels) // size, persistent=False)

    def forward(self, tokens: Tensor, bank: Tensor) -> Output:
        """Tokens (B, N, channels); the label bank is not used."""
        values = self.project(tokens).relu()
        queries = self.queries.unsqueeze(0)
        for layer in self.layers:
            queries, weights = layer(queries, values, values)
        scores = (queries.unsqueeze(-2) @ self.weight).flatten(1)
        similarity = attention_similarity(weights).index_select(2, self.group_of)
        return Output(scores[:, : self.labels] + self.bias, similarity)
