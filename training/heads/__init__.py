"""Heads: everything between the backbone's tokens and the logits. PVLR's own and its rivals, on equal terms.

A head is called with tokens (B, N, D) and the label bank (C, d) and gives an :class:`Output`; ``alpha`` makes a label's
map of its similarity: softmax_n(alpha * similarity).
"""

from __future__ import annotations

from torch import nn

from ..config import ModelConfig
from .csra import CsraHead
from .linear import LinearHead
from .ml_decoder import MlDecoderHead
from .output import Output
from .pvlr import VisualHead
from .query2label import Query2LabelHead

__all__ = ["Output", "open_head"]

_HEADS = {
    "pvlr": VisualHead,
    "linear": LinearHead,
    "csra": CsraHead,
    "query2label": Query2LabelHead,
    "ml_decoder": MlDecoderHead,
}


def open_head(channels: int, grid: tuple[int, int], labels: int, config: ModelConfig) -> nn.Module:
    """The head ``config.head`` for tokens (B, rows * columns, channels) and C labels."""
    return _HEADS[config.head](channels, grid, labels, config)
