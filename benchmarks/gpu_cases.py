"""What benchmarks/kernels_gpu.py times: each kernel at a size, and PyTorch's ways to compute the same. A new kernel is
one more entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from kernel_table import Workload, attention_load
from torch import Tensor

from pvlr_sdk import kernels

HEADS, DIM = 8, 32
"""Of the shipped models."""

Way = Callable[[], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Case:
    """One kernel at one size.

    Attributes:
        ways: given torch.compile, each way to compute it; the first is ``ours``.
        definition: the exact answer, in float32.
    """

    kernel: str
    sizes: str
    load: Workload
    ways: Callable[[Callable[..., Any]], dict[str, Way]]
    definition: Way


def attention(device: str, dtype: str, batch: int, tokens: int, labels: int) -> Case:
    """Dual-softmax attention of ``batch`` images with one label bank."""
    generator = torch.Generator().manual_seed(0)

    def normal(entries: int, rows: int) -> Tensor:
        return torch.randn(entries, HEADS, rows, DIM, generator=generator).to(device, getattr(torch, dtype))

    q_x, k_t, v_x, v_t = normal(batch, tokens), normal(1, labels), normal(batch, tokens), normal(1, labels)
    out = torch.empty_like(q_x), q_x.new_empty(batch, HEADS, labels, DIM)

    def eager(q_x: Tensor, k_t: Tensor, v_x: Tensor, v_t: Tensor) -> tuple[Tensor, Tensor]:
        affinity = q_x @ k_t.mT * DIM**-0.5
        return affinity.softmax(-1) @ v_t, affinity.softmax(-2).mT @ v_x

    banks = k_t.expand(batch, -1, -1, -1), v_t.expand(batch, -1, -1, -1)

    def two_attentions() -> tuple[Tensor, Tensor]:
        attend = F.scaled_dot_product_attention
        return attend(q_x, banks[0], banks[1]), attend(banks[0], q_x, v_x)

    def ours() -> tuple[Tensor, Tensor]:
        stream = torch.cuda.current_stream() if device == "cuda" else None
        return kernels.dual_softmax_attention(q_x, k_t, v_x, v_t, out=out, stream=stream)

    inputs = q_x, k_t, v_x, v_t

    def ways(compile: Callable[..., Any]) -> dict[str, Way]:
        compiled = compile(eager)
        return {
            "ours": ours,
            "eager": lambda: eager(*inputs),
            "torch.compile": lambda: compiled(*inputs),
            "2 SDPA": two_attentions,
        }

    load = attention_load("", batch, HEADS, tokens, labels, DIM)
    sizes = f"B={batch} N={tokens} C={labels}"

    def definition() -> tuple[Tensor, ...]:
        images = [eager(*(x[i % len(x)][None].float() for x in inputs)) for i in range(batch)]  # less memory at once
        return tuple(torch.cat(parts) for parts in zip(*images, strict=True))

    return Case("attention", sizes, load, ways, definition)


KERNELS: dict[str, Callable[[str, str, int, int, int], Case]] = {"attention": attention}
"""By name: device, dtype, batch, tokens, labels -> case."""
