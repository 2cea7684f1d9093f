"""What the compiler makes of the CUDA kernels, without a GPU: registers, spills, occupancy, instructions, rooflines.

    python -m benchmarks.gpu.kernel_report                  # for all supported compute capabilities; takes minutes
    python -m benchmarks.gpu.kernel_report --arch 87 --only float16_64 --page /tmp/k.md --json /tmp/k.json

Compiles every instance with warnings as errors; writes docs/kernel_report.md and benchmarks/results/kernels.json. Exit
status 1 if a kernel spills registers or lacks its tensor-core instructions, or if a number is worse than the committed
one (kernel_gates.py); then nothing is written without --accept. Nothing is measured. Needs nvcc with a C++ compiler,
cuobjdump and nvdisasm (pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm).
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil, prod
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from ..common import DOCS, RESULTS, run, save
from . import bank_conflicts
from .cuda_inspect import Compiled, CudaError, compile_kernels, evaluate, tool_versions, write_instances
from .gpus import DEVICES, LIMITS, bound, occupancy
from .hot_loop import LoopError, around, hot_path
from .kernel_gates import regressions
from .kernel_page import MIX, render
from .kernel_table import KERNELS, MANY_LABELS, Function, Kernel, required

COMMITTED = RESULTS / "kernels.json"


def main(
    arch: Annotated[
        list[int] | None, typer.Option(help=f"Of {', '.join(map(str, LIMITS))}; repeatable. Default: all.")
    ] = None,
    only: Annotated[str, typer.Option(help="Only instances whose file name contains this.")] = "",
    jobs: Annotated[int, typer.Option(help="Number of compilers at a time.")] = 1,
    json_path: Annotated[Path, typer.Option("--json")] = RESULTS / "kernels.json",
    page_path: Annotated[Path, typer.Option("--page")] = DOCS / "kernel_report.md",
    accept: Annotated[
        bool, typer.Option("--accept", help="Write numbers that are worse than the committed ones.")
    ] = False,
) -> None:
    """Compile the kernels, inspect the machine code, and write the results and the page."""
    capabilities = sorted(set(arch or LIMITS))
    if set(capabilities) - set(LIMITS):
        sys.exit(f"kernel_report: the supported capabilities are {', '.join(map(str, LIMITS))}")
    try:
        rows = [row for one in KERNELS for row in inspect(one, capabilities, only, jobs)]
        data = {
            "tools": tool_versions(),
            "capabilities": capabilities,
            "kernels": rows,
            "rooflines": [line for one in KERNELS for line in rooflines(one)],
            "banks": banks(only),
        }
    except CudaError as error:
        sys.exit(f"kernel_report: {error}")
    worse = regressions(json.loads(COMMITTED.read_text()), data) if COMMITTED.exists() else []
    if worse and not accept:
        sys.exit("\n".join([*worse, "kernel_report: nothing was written; --accept writes these numbers"]))
    save(json_path, data)
    page_path.write_text(render(data))
    print(f"{len(rows)} kernels, {json_path} and {page_path} written")
    problems = [f"{row['kernel']} on sm_{row['capability']}: {text}" for row in rows for text in row["problems"]]
    if problems:
        sys.exit("\n".join(problems))


def inspect(kernel: Kernel, capabilities: list[int], only: str = "", jobs: int = 1) -> list[dict[str, Any]]:
    """One row per kernel and architecture: its resources, its instructions and its problems."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        sources = [path for path in instances(kernel, Path(folder)) if only in path.name]
        if not sources:
            return []
        pairs = [(source, capability) for source in sources for capability in capabilities]
        done = pool.map(lambda pair: compile_kernels(*pair, Path(folder)), pairs)
        bar = track(done, kernel.name, len(pairs), console=Console(stderr=True), transient=True)
        found = [(source, one) for (source, _), compiled in zip(pairs, bar, strict=True) for one in compiled]
        unknown = {one.name for _, one in found} - set(kernel.functions)
        if unknown:
            raise CudaError(f"{kernel.name} has functions that kernel_table.py does not list: {', '.join(unknown)}")
        texts = {text for _, one in found for text in kernel.functions[one.name].expressions(one.arguments)}
        ordered = sorted(texts)
        values = dict(zip(ordered, evaluate(kernel.header, ordered, Path(folder)), strict=True))
    rows = []
    for source, one in found:
        function = kernel.functions[one.name]
        numbers = [values[text] for text in function.expressions(one.arguments)]
        rows.append(_row(kernel, function, one, _type(kernel, source), numbers))
    return rows


def banks(only: str = "") -> list[dict[str, Any]]:
    """Bank conflicts of the kernels' calls; none of a report that is limited to some instances."""
    if only:
        return []
    with tempfile.TemporaryDirectory() as folder:
        return bank_conflicts.count(bank_conflicts.CALLS, Path(folder))


def instances(kernel: Kernel, folder: Path) -> list[Path]:
    """The sources that instantiate a kernel, written to ``folder``, by type and size."""
    paths = write_instances(kernel.name, folder)
    return sorted(paths, key=lambda path: (_type(kernel, path), len(path.stem), path.stem))


def _type(kernel: Kernel, source: Path) -> str:
    return source.stem.removeprefix(f"{kernel.name}_").split("_")[0]


def _row(kernel: Kernel, function: Function, one: Compiled, kind: str, numbers: list[int]) -> dict[str, Any]:
    dynamic, *work = numbers
    share, reason = occupancy(one.capability, one.threads, one.registers, one.static_shared + dynamic)
    loop, problem = (None, []) if kind == "float32" or not share else main_loop(one, work)
    return {
        "kernel": f"{one.name}<{one.arguments.replace('pvlr::device::', '')}>".replace("> >", ">>"),
        "family": kernel.name,
        "type": kind,
        "capability": one.capability,
        "threads": one.threads,
        "registers": one.registers,
        "spilled_bytes": one.spilled,
        "stack_bytes": one.stack,
        "static_shared_bytes": one.static_shared,
        "dynamic_shared_bytes": dynamic,
        "occupancy": round(share, 4),
        "limited_by": reason,
        "resident_warps": round(share * LIMITS[one.capability].warps),
        "main_loop": loop,
        "instructions": _mix(one),
        "problems": problems(function, one, kind, fits=share > 0) + problem,
    }


def main_loop(one: Compiled, work: Sequence[int]) -> tuple[dict[str, float | None] | None, list[str]]:
    """The instructions of a pass of the main loop and what a pass cannot do without, and the problems with it."""
    # Turing multiplies in other units, and hot_loop.py's rule does not find the loops of 10.0 and above.
    if not work or not 80 <= one.capability < 100:
        return None, []
    try:
        path = hot_path(one.code, work[1])
    except LoopError:  # a loop on every way: not counted, which the gates compare with the committed report
        return None, []
    if path is None:
        return None, ["has no main loop with tensor-core instructions"]
    words = Counter(opcode.split(".")[0] for opcode in path.elements())
    counts = {"issued": path.total(), "HMMA": words["HMMA"], "MUFU": words["MUFU"]}
    products, exponentials, *tile, passes, exponentials_around = work
    whole = [ceil(size / part) * part for size, part in zip(MANY_LABELS, tile, strict=True)]
    useful = round(prod(MANY_LABELS) / prod(whole), 4)
    needed = {"products": products, "exponentials": exponentials, "useful": useful, "passes": passes}
    try:
        outside = around(one.code, exponentials_around).total() if passes else 0
    except LoopError:
        outside = None
    return {**counts, "around": outside, **needed}, []


def _mix(one: Compiled) -> dict[str, int]:
    """Number of all instructions, and of those that the page shows, by their first word."""
    counts = Counter({"all": one.opcodes.total()})
    for opcode, count in one.opcodes.items():
        counts[opcode.split(".")[0]] += count
    return {word: counts[word] for word in ("all", *(word for words in MIX.values() for word in words))}


def problems(function: Function, one: Compiled, kind: str, *, fits: bool = True) -> list[str]:
    """Spilled registers, and required instructions that are missing.

    A kernel that does not fit a multiprocessor is never launched there, and may be empty.
    """
    found = [f"spills {one.spilled} bytes"] if one.spilled else []
    wanted = [required(opcode, one.capability, kind) for opcode in function.needs if fits]
    return found + [f"has no {name}" for name in wanted if name and not any(o.startswith(name) for o in one.opcodes)]


def rooflines(kernel: Kernel) -> list[dict[str, Any]]:
    """For each workload, type and device, the lower bound of the time from the data sheet."""
    lines = []
    for load, kind in itertools.product(kernel.workloads, ("float32", "float16")):  # bfloat16 is the same as float16
        moved, limits = load.bytes(kind), {}
        for device in DEVICES:
            seconds, by = bound(device, load.flops, load.exps, moved, tensor=kind != "float32")
            limits[device.name] = {"microseconds": round(1e6 * seconds, 3), "set_by": by}
        work = {"flops": load.flops, "exponentials": load.exps, "bytes": moved}
        lines.append({"family": kernel.name, "workload": load.name, "type": kind, **work, "bounds": limits})
    return lines


if __name__ == "__main__":
    run(main)
