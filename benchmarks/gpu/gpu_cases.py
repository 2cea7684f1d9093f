"""Cases of kernels_gpu.py: each kernel at several sizes, and the same computation in PyTorch. A new kernel is one
entry in ``KERNELS``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pvlr_sdk import kernels
from pvlr_sdk.bundle.manifest import InputSpec

DTYPES = ("float32", "float16", "bfloat16")
LABELS, TOKENS, BATCHES = (20, 80, 4585), (49, 196, 784), (1, 8, 32)
HEADS, DIM, WIDTH, SIDE = 8, 32, 256, 288
"""Of the shipped models: heads, dimension per head, total width, and side of the input in pixels."""

Way = Callable[[], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Case:
    """One kernel at one size.

    Attributes:
        ours, eager, others: the implementations to time; ``torch.compile`` is that of ``eager``.
        inputs: the arguments of ``eager``.
        images: gives the inputs of each image alone, for :meth:`definition`.
    """

    kernel: str
    sizes: str
    ours: Way
    eager: Callable[..., tuple[Tensor, ...]]
    inputs: tuple[Any, ...]
    images: Callable[[], Iterator[tuple[Any, ...]]]
    others: dict[str, Way] = field(default_factory=dict)

    def ways(self, compile: Callable[..., Any]) -> dict[str, Way]:
        """All implementations by name, given ``torch.compile``."""
        compiled = compile(self.eager)
        eager = {"eager": lambda: self.eager(*self.inputs), "torch.compile": lambda: compiled(*self.inputs)}
        return {"ours": self.ours, **eager, **self.others}

    def definition(self) -> tuple[Tensor, ...]:
        """The reference result, in float32 and one image at a time, which saves memory."""
        results = [self.eager(*inputs) for inputs in self.images()]
        return tuple(torch.cat(parts).float() for parts in zip(*results, strict=True))


def attention(device: str, dtype: str, batch: int, tokens: int, labels: int) -> Case:
    """Dual-softmax attention of ``batch`` images with one label bank."""
    generator = torch.Generator().manual_seed(0)

    def normal(entries: int, rows: int) -> Tensor:
        return torch.randn(entries, HEADS, rows, DIM, generator=generator).to(device, getattr(torch, dtype))

    inputs = q_x, k_t, v_x, v_t = normal(batch, tokens), normal(1, labels), normal(batch, tokens), normal(1, labels)
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

    def images() -> Iterator[tuple[Any, ...]]:
        return (tuple(x[i % len(x)][None].float() for x in inputs) for i in range(batch))

    sizes = f"B={batch} N={tokens} C={labels}"
    return Case("attention", sizes, ours, eager, inputs, images, {"2 SDPA": two_attentions})


def tag_head(device: str, dtype: str, batch: int, tokens: int, labels: int) -> Case:
    """Layer norms, similarity, pooling and sigmoid of ``batch`` images with one label bank."""
    generator = torch.Generator().manual_seed(0)
    scale, alpha = 12.0, 0.5

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    x, t = (normal(*shape).to(getattr(torch, dtype)) for shape in ((batch, tokens, WIDTH), (labels, WIDTH)))
    norms, bias = [(normal(WIDTH), normal(WIDTH)) for _ in range(2)], normal(labels)
    out = kernels.TagHead(torch.empty(batch, labels, device=device), torch.empty(batch, labels, device=device))

    def unit(rows: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        rows = F.layer_norm(rows, rows.shape[-1:], *norm)
        return rows * rows.square().sum(-1, keepdim=True).rsqrt()

    def eager(x: Tensor, t: Tensor, vectors: list[Tensor]) -> tuple[Tensor, ...]:
        similarity = scale * (unit(x, (vectors[0], vectors[1])) @ unit(t, (vectors[2], vectors[3])).mT)
        logits = ((alpha * similarity).softmax(1) * similarity).sum(1) + vectors[4]
        return logits, logits.sigmoid()

    vectors = [*norms[0], *norms[1], bias]

    def ours() -> tuple[Tensor, ...]:
        numbers = {"scale": scale, "alpha": alpha, "x_norm": norms[0], "t_norm": norms[1], "bias": bias}
        got = kernels.tag_head(x, t, **numbers, out=out, stream=_stream(device))
        return got.logits, got.scores

    def images() -> Iterator[tuple[Any, ...]]:
        return ((image[None].float(), t.float(), vectors) for image in x)

    inputs = x, t, [one.to(x.dtype) for one in vectors]
    return Case("tag_head", f"B={batch} N={tokens} C={labels}", ours, eager, inputs, images)


def preprocessing(device: str, dtype: str, batch: int, height: int, width: int) -> Case:
    """BGR frames of one size to the input of the shipped models; PyTorch cannot batch mixed sizes."""
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

    def images() -> Iterator[tuple[Any, ...]]:
        return ((frame[None],) for frame in frames)

    sizes = f"B={batch} {width}x{height}"
    return Case("preprocess", sizes, ours, eager, (frames,), images)


def _stream(device: str) -> Any:
    return torch.cuda.current_stream() if device == "cuda" else None


_SIZES = [(batch, tokens, labels) for labels, tokens, batch in itertools.product(LABELS, TOKENS, BATCHES)]
_FRAMES = [(batch, *size) for size in ((720, 1280), (1080, 1920), (2160, 3840)) for batch in BATCHES]
KERNELS: dict[str, Callable[[str, str], Iterator[Case]]] = {
    "attention": lambda device, dtype: (attention(device, dtype, *size) for size in _SIZES),
    "preprocess": lambda device, dtype: (preprocessing(device, dtype, *size) for size in _FRAMES),
    "tag_head": lambda device, dtype: (tag_head(device, dtype, *size) for size in _SIZES),
}
"""By name: a function from device and dtype to the cases, smallest first, created one at a time."""
