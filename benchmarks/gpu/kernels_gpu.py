"""Times of the CUDA kernels and of the same computation in PyTorch, replayed from CUDA graphs.

    python -m benchmarks.gpu.kernels_gpu                         # on a GPU; trt_check.sh also tests them
    python -m benchmarks.gpu.kernels_gpu --device cpu --short    # tests the script; the results are meaningless

All results are compared with eager PyTorch's in float32. Exit status: 1 if a result is wrong, 3 without GPU or CUDA.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor
from torch.utils.benchmark import Timer

from pvlr_sdk import kernels
from pvlr_sdk.bundle.manifest import InputSpec

from ..common import RESULTS, Table, run, save

BOUNDS = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest difference of a result from float32, by type."""
LABELS = (20, 80, 4585)
TOKENS = (49, 196, 784)
BATCHES = (1, 8)
HEADS = 8
DIM = 32
WIDTH = 256
SIDE = 288
"""Of the shipped models: heads, dimension per head, total width, and side of the input in pixels."""

Way = Callable[[], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Case:
    """One kernel at one size: ``ours``, and PyTorch's ``eager``, which takes ``inputs`` of any floating-point type, and
    is also compiled. ``others``: further implementations."""

    kernel: str
    sizes: str
    ours: Way
    eager: Callable[..., tuple[Tensor, ...]]
    inputs: tuple[Tensor, ...]
    others: dict[str, Way] = field(default_factory=dict)

    def ways(self, device: str) -> dict[str, Way]:
        """All implementations by name; on the CPU, ``torch.compile`` only traces."""
        torch.compiler.reset()  # it compiles a function for a few sizes only, and calls the eager one after that
        compiled = torch.compile(
            self.eager, dynamic=False, backend="inductor" if device == "cuda" else "eager"
        )
        pytorch = {"eager": self.eager, "torch.compile": compiled}
        return {
            "ours": self.ours,
            **{name: partial(way, *self.inputs) for name, way in pytorch.items()},
            **self.others,
        }


def attention(device: str, dtype: torch.dtype, batch: int, tokens: int, labels: int) -> Case:
    """Dual-softmax attention of ``batch`` images with one label bank."""
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, tokens), (1, labels), (batch, tokens), (1, labels)
    inputs = tuple(
        torch.randn(n, HEADS, m, DIM, generator=generator).to(device, dtype) for n, m in shapes
    )
    out = torch.empty_like(inputs[0]), inputs[0].new_empty(batch, HEADS, labels, DIM)

    def eager(q_x: Tensor, k_t: Tensor, v_x: Tensor, v_t: Tensor) -> tuple[Tensor, Tensor]:
        affinity = q_x @ k_t.mT * DIM**-0.5
        return affinity.softmax(-1) @ v_t, affinity.softmax(-2).mT @ v_x

    def ours() -> tuple[Tensor, Tensor]:
        return kernels.dual_softmax_attention(*inputs, out=out, stream=_stream(device))

    q_x, k_t, v_x, v_t = inputs
    banks = k_t.expand(batch, -1, -1, -1), v_t.expand(batch, -1, -1, -1)

    def two_attentions() -> tuple[Tensor, Tensor]:
        attend = F.scaled_dot_product_attention
        return attend(q_x, *banks), attend(banks[0], q_x, v_x)

    sizes = f"B={batch} N={tokens} C={labels}"
    return Case("attention", sizes, ours, eager, inputs, {"2 SDPA": two_attentions})


def tag_head(device: str, dtype: torch.dtype, batch: int, tokens: int, labels: int) -> Case:
    """Layer norms, similarity, pooling and sigmoid of ``batch`` images with one label bank."""
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (batch, tokens, WIDTH),
        (labels, WIDTH),
        (WIDTH,),
        (WIDTH,),
        (WIDTH,),
        (WIDTH,),
        (labels,),
    )
    x, t, *vectors = (torch.randn(*shape, generator=generator).to(device) for shape in shapes)
    x = x.to(dtype)
    t = t.to(dtype)
    scale = 12.0
    alpha = 0.5
    out = kernels.TagHead(
        torch.empty(batch, labels, device=device), torch.empty(batch, labels, device=device)
    )

    def unit(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        rows = F.layer_norm(rows, rows.shape[-1:], weight, bias)
        return rows * rows.square().sum(-1, keepdim=True).rsqrt()

    def eager(x: Tensor, t: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
        similarity = scale * (unit(x, *vectors[:2]) @ unit(t, *vectors[2:4]).mT)
        logits = ((alpha * similarity).softmax(1) * similarity).sum(1) + vectors[4]
        return logits, logits.sigmoid()

    def ours() -> tuple[Tensor, ...]:
        numbers = {
            "scale": scale,
            "alpha": alpha,
            "x_norm": vectors[:2],
            "t_norm": vectors[2:4],
            "bias": vectors[4],
        }
        got = kernels.tag_head(x, t, **numbers, out=out, stream=_stream(device))
        return got.logits, got.scores

    inputs = x, t, *(one.to(dtype) for one in vectors)
    return Case("tag_head", f"B={batch} N={tokens} C={labels}", ours, eager, inputs)


def preprocessing(device: str, dtype: torch.dtype, batch: int, height: int, width: int) -> Case:
    """BGR frames of one size to the input of the shipped models; PyTorch cannot batch mixed sizes."""
    spec = InputSpec(width=SIDE, height=SIDE, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    frames = torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8).to(device)
    mean, std = (
        torch.tensor(values, device=device).view(3, 1, 1) for values in (spec.mean, spec.std)
    )
    each = list(frames)
    out = torch.empty(batch, 3, SIDE, SIDE, dtype=dtype, device=device)

    def eager(frames: Tensor) -> tuple[Tensor]:
        pixels = frames.flip(-1).permute(0, 3, 1, 2).float()
        resized = F.interpolate(
            pixels, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
        )
        return (((resized - mean) / std).to(dtype),)

    def ours() -> tuple[Tensor]:
        name = str(dtype).removeprefix("torch.")
        return (kernels.preprocess(each, spec, dtype=name, out=out, stream=_stream(device)),)

    return Case("preprocess", f"B={batch} {width}x{height}", ours, eager, (frames,))


_SIZES = [
    (batch, tokens, labels) for labels, tokens, batch in itertools.product(LABELS, TOKENS, BATCHES)
]
_FRAMES = [
    (batch, *size) for size in ((720, 1280), (1080, 1920), (2160, 3840)) for batch in BATCHES
]
KERNELS: dict[str, Callable[[str, torch.dtype], Iterator[Case]]] = {
    "attention": lambda device, dtype: (attention(device, dtype, *size) for size in _SIZES),
    "preprocess": lambda device, dtype: (preprocessing(device, dtype, *size) for size in _FRAMES),
    "tag_head": lambda device, dtype: (tag_head(device, dtype, *size) for size in _SIZES),
}
"""By name: a function from device and dtype to the cases, smallest first, created one at a time."""


def main(
    device: Annotated[str, typer.Option(help="cuda, or cpu to test the script.")] = "cuda",
    dtype: Annotated[str, typer.Option(help=f"One of {', '.join(BOUNDS)}.")] = "float16",
    short: Annotated[
        bool, typer.Option(help="Test run: the smallest size of each kernel, few samples.")
    ] = False,
    json_path: Annotated[Path, typer.Option("--json")] = RESULTS / "kernels_gpu.json",
) -> int:
    """Time the kernels."""
    if dtype not in BOUNDS or device not in ("cuda", "cpu"):
        raise typer.BadParameter(f"unknown: {dtype} on {device}")
    if problem := missing(device):
        print(f"kernels_gpu: {problem}", file=sys.stderr)
        return 3
    rows = []
    for cases in KERNELS.values():
        for case in itertools.islice(cases(device, getattr(torch, dtype)), 1 if short else None):
            rows.append(measure(case, device, 0.01 if short else 2.0, BOUNDS[dtype]))
    card = torch.cuda.get_device_name() if device == "cuda" else "CPU: meaningless results"
    about = {
        "card": card,
        "type": dtype,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    save(json_path, {"conditions": about, "unit": "microseconds", "rows": rows})
    _table(f"{card}, {dtype}, µs", rows).print()
    wrong = [row for row in rows if row["wrong"]]
    if wrong:
        print(
            "kernels_gpu: results that disagree with the definition:",
            "; ".join(
                f"{row['kernel']} {row['sizes']}: {', '.join(row['wrong'])}" for row in wrong
            ),
            file=sys.stderr,
        )
    return int(bool(wrong))


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    """A line per case, with a column per implementation."""
    names = list(rows[0]["times"])  # the attention's, which has all
    cells = []
    for row in rows:
        times = {name: f"{value:.1f}" for name, value in row["times"].items()}
        cells.append([row["kernel"], row["sizes"], *(times.get(name, "") for name in names)])
    return Table(title, ["kernel", "sizes", *names], cells)


def missing(device: str) -> str | None:
    """The reason why the device cannot be timed; None if it can."""
    if device != "cpu" and not torch.cuda.is_available():
        return (
            f"no GPU: PyTorch {torch.__version__} finds none (torch.cuda.is_available() is False)"
        )
    if device != "cpu" and not kernels.has_cuda():
        return "the core has no CUDA kernels: PVLR_CUDA=1 pip install . (docs/kernels.md)"
    return None


@torch.inference_mode()
def measure(case: Case, device: str, seconds: float, bound: float) -> dict[str, Any]:
    """Median microseconds of all implementations, and which of them are wrong."""
    expected = case.eager(*(one.float() for one in case.inputs))
    times = {}
    wrong = []
    for name, way in case.ways(device).items():
        pairs = zip(way(), expected, strict=True)
        if any(float((one.float() - other.float()).abs().max()) > bound for one, other in pairs):
            wrong.append(name)
        call = _graph(way) if device == "cuda" else way
        times[name] = (
            1e6
            * Timer("call()", globals={"call": call})
            .adaptive_autorange(max_run_time=seconds)
            .median
        )
    return {"kernel": case.kernel, "sizes": case.sizes, "wrong": wrong, "times": times}


def _graph(way: Way) -> Callable[[], None]:
    """The replay of a call."""
    # libraries allocate their workspaces before the capture
    with torch.cuda.stream(torch.cuda.Stream()):
        way()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        way()
    return graph.replay


def _stream(device: str) -> Any:
    return torch.cuda.current_stream() if device == "cuda" else None


if __name__ == "__main__":
    run(main)
