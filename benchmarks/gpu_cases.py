"""What benchmarks/kernels_gpu.py times: each kernel at a size, and PyTorch's ways to compute the same. A new kernel is
one more entry here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from kernel_table import Workload, attention_load, preprocess_load
from torch import Tensor

from pvlr_sdk import kernels
from pvlr_sdk.manifest import InputSpec

LABELS, TOKENS, BATCHES = (20, 80, 4585), (49, 196, 784), (1, 8, 32)
HEADS, DIM, SIDE = 8, 32, 288
"""Of the shipped models: heads, their dimension, pixels a side."""

Way = Callable[[], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Case:
    """One kernel at one size.

    Attributes:
        ways: given torch.compile, each way to compute it; the first is ``ours``.
        definition: the exact answer, in float32.
        tensor: whether two-byte types are multiplied on tensor cores.
    """

    kernel: str
    sizes: str
    load: Workload
    ways: Callable[[Callable[..., Any]], dict[str, Way]]
    definition: Way
    tensor: bool = True


def attentions(device: str, dtype: str) -> Iterator[Case]:
    """VOC, COCO and open-vocabulary sizes; each is made when it is its turn."""
    for labels, tokens, batch in itertools.product(LABELS, TOKENS, BATCHES):
        yield attention(device, dtype, batch, tokens, labels)


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
        return kernels.dual_softmax_attention(q_x, k_t, v_x, v_t, out=out, stream=_stream(device))

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


def preprocessings(device: str, dtype: str) -> Iterator[Case]:
    """720p, 1080p and 4K frames, one to 32 at a time."""
    for (height, width), batch in itertools.product(((720, 1280), (1080, 1920), (2160, 3840)), BATCHES):
        yield preprocessing(device, dtype, batch, height, width)


def preprocessing(device: str, dtype: str, batch: int, height: int, width: int) -> Case:
    """BGR frames of one size to the shipped models' input: PyTorch can do no mixed batch."""
    spec = InputSpec(width=SIDE, height=SIDE, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=generator).to(device)
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (spec.mean, spec.std))
    out = torch.empty(batch, 3, SIDE, SIDE, dtype=getattr(torch, dtype), device=device)

    def eager(frames: Tensor) -> tuple[Tensor]:
        pixels = frames.flip(-1).permute(0, 3, 1, 2).float()
        resized = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        return (((resized - mean) / std).to(out.dtype),)

    each = list(frames)

    def ours() -> tuple[Tensor]:
        return (kernels.preprocess(each, spec, dtype=dtype, out=out, stream=_stream(device)),)

    def ways(compile: Callable[..., Any]) -> dict[str, Way]:
        compiled = compile(eager)
        return {"ours": ours, "eager": lambda: eager(frames), "torch.compile": lambda: compiled(frames)}

    load = preprocess_load("", batch, height, width, 3, SIDE)
    sizes = f"B={batch} {width}x{height}"
    definition = lambda: (torch.cat([eager(frame[None])[0].float() for frame in frames]),)  # noqa: E731
    return Case("preprocess", sizes, load, ways, definition, tensor=False)


def _stream(device: str) -> Any:
    return torch.cuda.current_stream() if device == "cuda" else None


KERNELS: dict[str, Callable[[str, str], Iterator[Case]]] = {"attention": attentions, "preprocess": preprocessings}
"""By name: device, dtype -> the cases, the smallest first."""
