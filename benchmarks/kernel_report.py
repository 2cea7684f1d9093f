"""What the compiler makes of the CUDA kernels, without a GPU: registers, spills, occupancy, instructions, rooflines.

    python benchmarks/kernel_report.py                  # for all compute capabilities that we support; takes minutes
    python benchmarks/kernel_report.py --arch 87 --only float16_64 --page /tmp/k.md --json /tmp/k.json

Compiles every instantiation with warnings as errors; writes docs/kernel_report.md and benchmarks/results/kernels.json.
Exit status 1 if a kernel spills registers or lost its tensor-core instructions. Nothing is measured. Needs nvcc with a
C++ compiler, cuobjdump and nvdisasm (pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
from cuda_inspect import ROOT, Compiled, CudaError, compile_kernels, evaluate, tool_versions
from gpus import DEVICES, LIMITS, bound, occupancy
from kernel_page import MIX, page
from kernel_table import KERNELS, SIZES, Function, Kernel, required
from rich.console import Console
from rich.progress import track


def main(
    arch: Annotated[
        list[int] | None, typer.Option(help=f"Of {', '.join(map(str, LIMITS))}; repeatable. Default: all.")
    ] = None,
    only: Annotated[str, typer.Option(help="Only instantiations with this in their file's name.")] = "",
    jobs: Annotated[int, typer.Option(help="How many compilers run at a time.")] = 1,
    json_path: Annotated[Path, typer.Option("--json")] = ROOT / "benchmarks/results/kernels.json",
    page_path: Annotated[Path, typer.Option("--page")] = ROOT / "docs/kernel_report.md",
) -> None:
    """Compile the kernels, look inside, and write down what is there."""
    capabilities = sorted(set(arch or LIMITS))
    if set(capabilities) - set(LIMITS):
        sys.exit(f"kernel_report: the capabilities are {', '.join(map(str, LIMITS))}")
    try:
        rows = [row for one in KERNELS for row in inspect(one, capabilities, only, jobs)]
        data = {
            "tools": tool_versions(),
            "capabilities": capabilities,
            "kernels": rows,
            "rooflines": [line for one in KERNELS if instances(one) for line in rooflines(one)],
        }
    except CudaError as error:
        sys.exit(f"kernel_report: {error}")
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(_json(data))
    page_path.write_text(page(data))
    print(f"{len(rows)} kernels, {json_path} and {page_path} written")
    problems = [f"{row['kernel']} on sm_{row['capability']}: {text}" for row in rows for text in row["problems"]]
    if problems:
        sys.exit("\n".join(problems))


def _json(data: dict[str, Any]) -> str:
    """One line for each key, and for each item of a list of objects: short, and readable in a diff."""

    def value(item: Any) -> str:
        if isinstance(item, list) and item and isinstance(item[0], dict):
            return "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in item) + "\n ]"
        return json.dumps(item)

    return "{\n" + ",\n".join(f" {json.dumps(key)}: {value(item)}" for key, item in data.items()) + "\n}\n"


def inspect(kernel: Kernel, capabilities: list[int], only: str = "", jobs: int = 1) -> list[dict[str, Any]]:
    """One row for each instantiation and architecture: what it takes, what it is made of, and what is wrong with it."""
    sources = [path for path in instances(kernel) if only in path.name]
    if not sources:
        return []
    pairs = [(source, capability) for source in sources for capability in capabilities]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        done = pool.map(lambda pair: compile_kernels(*pair, Path(folder)), pairs)
        bar = track(done, kernel.name, len(pairs), console=Console(stderr=True), transient=True)
        found = [(source, one) for (source, _), compiled in zip(pairs, bar, strict=True) for one in compiled]
        unknown = {one.name for _, one in found} - set(kernel.functions)
        if unknown:
            raise CudaError(f"{kernel.name} has functions that kernel_table.py doesn't know: {', '.join(unknown)}")
        expressions = {kernel.functions[one.name].shared.format(one.arguments): 0 for _, one in found}
        expressions = dict(zip(expressions, evaluate(kernel.header, list(expressions), Path(folder)), strict=True))
    rows = []
    for source, one in found:
        function = kernel.functions[one.name]
        rows.append(
            _row(kernel, function, one, _type(kernel, source), expressions[function.shared.format(one.arguments)])
        )
    return rows


def instances(kernel: Kernel) -> list[Path]:
    """The sources that instantiate a kernel, by type and size."""
    paths = (ROOT / "csrc/kernels/instances").glob(f"{kernel.name}_*.cu")
    return sorted(paths, key=lambda path: (_type(kernel, path), len(path.stem), path.stem))


def _type(kernel: Kernel, source: Path) -> str:
    return source.stem.removeprefix(f"{kernel.name}_").split("_")[0]


def _row(kernel: Kernel, function: Function, one: Compiled, kind: str, dynamic: int) -> dict[str, Any]:
    share, reason = occupancy(one.capability, one.threads, one.registers, one.static_shared + dynamic)
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
        "instructions": _mix(one),
        "problems": problems(function, one, kind, fits=share > 0),
    }


def _mix(one: Compiled) -> dict[str, int]:
    """How many instructions there are, and how many of those that the page shows, by their first word."""
    counts = Counter({"all": one.opcodes.total()})
    for opcode, count in one.opcodes.items():
        counts[opcode.split(".")[0]] += count
    return {word: counts[word] for word in ("all", *(word for words in MIX.values() for word in words))}


def problems(function: Function, one: Compiled, kind: str, *, fits: bool = True) -> list[str]:
    """What must not be: spilled registers, and instructions of the architecture that the compiler didn't use.

    A kernel that doesn't fit a multiprocessor is never launched there, and may be empty.
    """
    found = [f"spills {one.spilled} bytes"] if one.spilled else []
    wanted = [required(opcode, one.capability, kind) for opcode in function.needs if fits]
    return found + [f"has no {name}" for name in wanted if name and not any(o.startswith(name) for o in one.opcodes)]


def rooflines(kernel: Kernel) -> list[dict[str, Any]]:
    """For each workload, type and device the least time that the device's data sheet allows."""
    lines = []
    for load in kernel.workloads:
        for kind, size in SIZES.items():
            if kind == "bfloat16":
                continue  # the same as float16 in every figure here
            moved = load.elements * size + load.other_bytes
            limits = {}
            for device in DEVICES:
                seconds, by = bound(device, load.flops, load.exps, moved, tensor=kind != "float32")
                limits[device.name] = {"microseconds": round(1e6 * seconds, 3), "set_by": by}
            lines.append(
                {
                    "family": kernel.name,
                    "workload": load.name,
                    "type": kind,
                    "flops": load.flops,
                    "exponentials": load.exps,
                    "bytes": moved,
                    "bounds": limits,
                }
            )
    return lines


if __name__ == "__main__":
    typer.run(main)
