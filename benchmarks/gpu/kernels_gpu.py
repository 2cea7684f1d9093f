"""Times of the CUDA kernels and of PyTorch: eager, torch.compile, and two calls of scaled_dot_product_attention.

    python -m benchmarks.gpu.kernels_gpu                         # on a GPU; trt_check.sh also tests them
    python -m benchmarks.gpu.kernels_gpu --device cpu --short    # tests the script; the results are meaningless

All results are compared with the definition in float32. Each implementation is timed as a call and replayed from a
CUDA graph, by PyTorch's timer, with a warm and a cold L2 cache. Exit status: 1 if a result is wrong, 3 without GPU or
CUDA.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch.utils.benchmark import Timer

from pvlr_sdk import kernels

from ..common import RESULTS, Table, run, save
from .gpu_cases import DTYPES, KERNELS, Case, Way

MODES = ("call", "call, cold", "graph", "graph, cold")


def main(
    device: Annotated[str, typer.Option(help="cuda, or cpu to test the script.")] = "cuda",
    dtype: Annotated[str, typer.Option(help=f"One of {', '.join(DTYPES)}.")] = "float16",
    kernel: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(KERNELS)}; repeatable.")] = None,
    short: Annotated[bool, typer.Option(help="Test run: the smallest size of each kernel, few samples.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Default: results/kernels_gpu-CARD.json.")] = None,
) -> int:
    """Time the kernels."""
    if unknown := {*(kernel or ()), dtype, device} - {*KERNELS, *DTYPES, "cuda", "cpu"}:
        print(f"kernels_gpu: unknown: {', '.join(unknown)}; see --help", file=sys.stderr)
        return 1
    if problem := missing(device):
        print(f"kernels_gpu: {problem}", file=sys.stderr)
        return 3
    facts = _facts(device)
    rows = []
    for name in kernel or KERNELS:
        cases = KERNELS[name](device, dtype)
        for case in itertools.islice(cases, 1) if short else cases:
            rows.append(measure(case, device, 0.01 if short else 5.0, dtype))
            print(f"{name} {case.sizes}", file=sys.stderr)
    conditions = {**facts, "torch": torch.__version__, "type": dtype, "date": time.strftime("%Y-%m-%d")}
    default = RESULTS / f"kernels_gpu-{re.sub('[^A-Za-z0-9]+', '-', facts['card'])}.json"
    path = json_path or (default if device == "cuda" else None)
    save(path, {"conditions": conditions, "unit": "microseconds, median", "rows": rows})
    show(rows, f"{facts['card']}, {dtype}")
    wrong = [f"{row['kernel']} {row['sizes']}: {way}" for row in rows for way in row["wrong"]]
    if wrong:
        print("kernels_gpu: results that disagree with the definition:", "; ".join(wrong), file=sys.stderr)
    return int(bool(wrong))


def missing(device: str) -> str | None:
    """The reason why the device cannot be timed; None if it can."""
    if device == "cpu":
        return None
    if not torch.cuda.is_available():
        return f"no GPU: PyTorch {torch.__version__} finds none (torch.cuda.is_available() is False)"
    if not kernels.has_cuda():
        return "the core has no CUDA kernels: PVLR_CUDA=1 pip install . (docs/kernels.md)"
    return None


def measure(case: Case, device: str, seconds: float, dtype: str) -> dict[str, Any]:
    """One row: microseconds of each implementation in each mode, and the wrong implementations.

    ``seconds`` is the longest time of a measurement, which ends earlier if its median is stable.
    """
    torch.compiler.reset()  # keeps the number of compilations below its limit
    # A test on the CPU compiles no code, which would be slow.
    ways = case.ways(partial(torch.compile, dynamic=False, backend="inductor" if device == "cuda" else "aot_eager"))
    with torch.inference_mode():
        expected = case.definition()
        wrong, times = [], {}
        for name, way in ways.items():
            try:
                if not _agrees(way, expected, dtype):
                    wrong.append(name)
                times[name] = _times(way, device, seconds)
            except torch.OutOfMemoryError:  # PyTorch stores the whole affinity
                print(f"{case.kernel} {case.sizes}: not enough memory for {name}", file=sys.stderr)
    return {"kernel": case.kernel, "sizes": case.sizes, "times": times, "wrong": wrong}


def _agrees(way: Way, expected: tuple[torch.Tensor, ...], dtype: str) -> bool:
    bound = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}[dtype]
    got = way()
    return all((one.float() - other).abs().max() <= bound for one, other in zip(got, expected, strict=True))


def _times(way: Way, device: str, seconds: float) -> dict[str, float]:
    def median(*calls: Callable[[], object]) -> float:
        timer = Timer("for call in calls: call()", globals={"calls": calls})
        return 1e6 * timer.adaptive_autorange(0.01, min_run_time=seconds / 10, max_run_time=seconds).median

    cache = torch.cuda.get_device_properties(0).L2_cache_size if device == "cuda" else 1 << 20
    flush = torch.empty(max(2 * cache, 1 << 25), dtype=torch.uint8, device=device).zero_
    found = {}
    for mode, call in {"call": way, "graph": _graph(way) if device == "cuda" else way}.items():
        found[mode], found[f"{mode}, cold"] = median(call), median(flush, call) - median(flush)
    return {mode: round(found[mode], 3) for mode in MODES}


def _graph(way: Way) -> Callable[[], None]:
    """The replay of a call."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # libraries allocate their workspaces before the capture
        way()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        way()
    return graph.replay


def _facts(device: str) -> dict[str, Any]:
    """Name and compute capability of the card, and the version of CUDA."""
    if device == "cpu":
        return {"card": "CPU: meaningless results"}
    card = torch.cuda.get_device_properties(0)
    capability = f"{card.major}.{card.minor}"
    about = {"capability": capability, "multiprocessors": card.multi_processor_count, "cuda": torch.version.cuda}
    return {"card": card.name, **about}


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the kernels' times, and the times of PyTorch relative to them."""
    others = list(dict.fromkeys(way for row in rows for way in row["times"] if way != "ours"))
    heads = ["kernel", *(f"{mode}, µs" for mode in MODES), *(f"{way}: call / graph" for way in others)]
    table = []
    for row in rows:
        ours = row["times"].get("ours")
        if ours is None:
            continue
        cells = [f"{row['kernel']} {row['sizes']}", *(f"{ours[mode]:.1f}" for mode in MODES)]
        for way in others:
            times = row["times"].get(way)
            cells.append(" / ".join(f"{times[mode] / ours[mode]:.1f}x" for mode in ("call", "graph")) if times else "-")
        table.append(cells)
    Table(title, heads, table).print()


if __name__ == "__main__":
    run(main)
