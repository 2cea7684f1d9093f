"""What every head answers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """logits (B, C) and similarity (B, N, C)."""

    logits: Tensor
    similarity: Tensor
