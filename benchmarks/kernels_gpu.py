"""Times each CUDA kernel against PyTorch: eager, torch.compile, and two calls of scaled_dot_product_attention.

    python benchmarks/kernels_gpu.py                         # on a GPU; benchmarks/gpu_check.sh builds and tests first
    python benchmarks/kernels_gpu.py --device cpu --short    # shows that it works; the figures mean nothing

Every way is first held to the definition in float32. Then each is timed as a call from Python (CUDA events) and
replayed from a CUDA graph, with the L2 cache warm and cold. Prints one table and writes JSON with the card's name; the
share of the roofline is the data sheet's least time (benchmarks/gpus.py) over ours, from a graph with a cold cache.

Exit status 3 if there is no GPU or no core with CUDA, 1 if a result is wrong.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import gpus
import torch
import typer
from common import RESULTS, print_table, write_json
from gpu_cases import KERNELS, Case, Way
from gpu_timing import Clock, CpuClock, CudaClock, median
from kernel_table import SIZES

from pvlr_sdk import kernels

MODES = {"call": (False, False), "call, cold": (False, True), "graph": (True, False), "graph, cold": (True, True)}


def main(
    device: Annotated[str, typer.Option(help="cuda, or cpu to try the script.")] = "cuda",
    dtype: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = "float16",
    kernel: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(KERNELS)}; repeatable.")] = None,
    short: Annotated[bool, typer.Option(help="The smallest size of each kernel, few samples.")] = False,
    card: Annotated[str, typer.Option(help="The data sheet to compare with, if not the card's.")] = "",
    json_path: Annotated[Path | None, typer.Option("--json", help="Default: results/kernels_gpu-CARD.json.")] = None,
) -> None:
    """Time the kernels and print the table."""
    unknown = set(kernel or ()) - set(KERNELS)
    if unknown or dtype not in SIZES or device not in ("cuda", "cpu"):
        sys.exit(f"kernels_gpu: unknown: {', '.join(unknown) or dtype + ', ' + device}; see --help")
    problem = missing(device)
    if problem:
        print(f"kernels_gpu: {problem}", file=sys.stderr)
        sys.exit(3)
    clock: Clock = CudaClock() if device == "cuda" else CpuClock()
    facts = clock.facts()
    sheet = gpus.find(card or facts["card"], facts["multiprocessors"])
    rows = []
    for name in kernel or KERNELS:
        cases = KERNELS[name](clock.device, dtype)
        for case in itertools.islice(cases, 1) if short else cases:
            rows.append(measure(case, clock, 3 if short else 50, sheet, dtype))
            print(f"{name} {case.sizes}", file=sys.stderr)
    conditions = {**facts, "torch": torch.__version__, "type": dtype, "date": time.strftime("%Y-%m-%d")}
    roofline = {"name": sheet.name, "source": sheet.source} if sheet else None
    default = RESULTS / f"kernels_gpu-{re.sub('[^A-Za-z0-9]+', '-', facts['card'])}.json"
    path = json_path or (default if device == "cuda" else None)
    write_json(path, {"conditions": conditions, "roofline": roofline, "unit": "microseconds, median", "rows": rows})
    show(rows, f"{facts['card']}, {dtype}; roofline of {sheet.name if sheet else 'no data sheet that is known here'}")
    wrong = [f"{row['kernel']} {row['sizes']}: {way}" for row in rows for way in row["wrong"]]
    if wrong:
        sys.exit("kernels_gpu: results that disagree with the definition: " + "; ".join(wrong))


def missing(device: str) -> str | None:
    """Why nothing can be timed on the device; None if it can."""
    if device == "cpu":
        return None
    if not torch.cuda.is_available():
        return f"no GPU: PyTorch {torch.__version__} finds none (torch.cuda.is_available() is False)"
    if not kernels.has_cuda():
        return 'the core has no CUDA kernels: CMAKE_ARGS="-DPVLR_CUDA=ON" pip install . (docs/kernels.md)'
    return None


def measure(case: Case, clock: Clock, count: int, sheet: gpus.Device | None, dtype: str) -> dict[str, Any]:
    """One row: microseconds of each way in each mode, what the roofline allows, and which ways are wrong."""
    torch._dynamo.reset()  # so that no size runs into the limit of compilations
    ways = case.ways(clock.compile)
    with torch.inference_mode():
        expected = case.definition()
        wrong, times = [], {}
        for name, way in ways.items():
            try:
                if not _agrees(way, expected, dtype):
                    wrong.append(name)
                times[name] = _times(way, clock, count)
            except torch.OutOfMemoryError:  # the others store the whole affinity
                print(f"{case.kernel} {case.sizes}: no memory for {name}", file=sys.stderr)
    least, by = None, None
    if sheet:
        moved = case.load.elements * SIZES[dtype] + case.load.other_bytes
        seconds, by = gpus.bound(
            sheet, case.load.flops, case.load.exps, moved, tensor=case.tensor and dtype != "float32"
        )
        least = 1e6 * seconds
    share = least / times["ours"]["graph, cold"] if least and "ours" in times else None
    return {
        "kernel": case.kernel,
        "sizes": case.sizes,
        "times": times,
        "least": least,
        "set_by": by,
        "share_of_roofline": share,
        "wrong": wrong,
    }


def _agrees(way: Way, expected: tuple[torch.Tensor, ...], dtype: str) -> bool:
    bound = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}[dtype]
    got = way()
    return all((one.float() - other).abs().max() <= bound for one, other in zip(got, expected, strict=True))


def _times(way: Way, clock: Clock, count: int) -> dict[str, float]:
    found = {}
    for mode, (graph, cold) in MODES.items():
        call = clock.prepare(way) if graph else way
        more = lambda call=call, cold=cold: clock.samples(call, count, cold=cold)  # noqa: E731
        found[mode] = round(median(more(), 0.01, more), 3)
    return found


def show(rows: list[dict[str, Any]], title: str) -> None:
    """One table: ours in every mode, its share of the roofline, and how many times as long the others take."""
    others = list(dict.fromkeys(way for row in rows for way in row["times"] if way != "ours"))
    heads = ["kernel", *(f"{mode}, µs" for mode in MODES), "of roofline", *(f"{way}: call / graph" for way in others)]
    table = []
    for row in rows:
        ours = row["times"].get("ours")
        if ours is None:
            continue
        share = row["share_of_roofline"]
        cells = [f"{row['kernel']} {row['sizes']}", *(f"{ours[mode]:.1f}" for mode in MODES)]
        cells.append("-" if share is None else f"{share:.0%} ({row['set_by'][0]})")
        for way in others:
            times = row["times"].get(way)
            cells.append(" / ".join(f"{times[mode] / ours[mode]:.1f}x" for mode in ("call", "graph")) if times else "-")
        table.append(cells)
    print_table(title, heads, table)


if __name__ == "__main__":
    typer.run(main)
