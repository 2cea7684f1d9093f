"""Heads: everything between the backbone's tokens and the logits, PVLR's own and a linear one.

A head is called with tokens (B, N, D) and the label bank (C, d) and returns an :class:`Output`. A label's map is
softmax_n(alpha * similarity), with the head's attribute ``alpha``. Its method ``calibrate`` moves a calibration of the
logits into the weights. A head with positions has a method ``resize`` for another grid of tokens.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from ..config import HEADS, ModelConfig

if TYPE_CHECKING:
    from torch import Tensor, nn


class Output(NamedTuple):
    """logits (B, C) and similarity (B, N, C)."""

    logits: Tensor
    similarity: Tensor


def open_head(channels: int, grid: tuple[int, int], labels: int, config: ModelConfig) -> nn.Module:
    """The head ``config.head`` for tokens (B, rows * columns, channels) and C labels."""
    head = getattr(import_module(f".{config.head}", __package__), HEADS[config.head])
    return head(channels, grid, labels, config)
