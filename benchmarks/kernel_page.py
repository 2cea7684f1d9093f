"""docs/kernel_report.md from the data of benchmarks/kernel_report.py."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from gpus import DEVICES, EXP_SOURCE, LIMITS, LIMITS_SOURCE

_HEAD = """\
# What the compiler makes of the kernels

Written by `python benchmarks/kernel_report.py{arguments}`, never by hand. Compiled with nvcc {nvcc}, taken apart with
cuobjdump {cuobjdump}. **Nothing on this page was measured on a GPU.** The command fails if a kernel spills registers or
lost its tensor-core instructions.
"""
_RESOURCES_NOTE = """
Shared memory is static + dynamic, of a block. For each architecture: registers of a thread, and the occupancy in %,
which is theoretical: the share of a multiprocessor's warps that fit at once, with what limits it: r registers, s shared
memory, w warps, b blocks; `-` where not even one block fits, and the launcher takes a smaller shape.
"""
_ROOFLINE_NOTE = """
The least time that each data sheet allows (not measured), set by `a` arithmetic, `e` exponentials or `m` memory. Each
tensor is read or written once. Launches, which cost more than the small calls themselves, are not counted. bfloat16 is
as float16.
"""
MIX = {
    "tensor core": ("HMMA",),
    "ldmatrix": ("LDSM",),
    "cp.async": ("LDGSTS",),
    "multiply, add": ("FFMA", "FADD", "FMUL", "HFMA2", "HADD2", "HMUL2"),
    "exp, sqrt, 1/x": ("MUFU",),
    "load": ("LDG", "LD"),
    "store": ("STG", "ST"),
    "shared": ("LDS", "STS"),
    "shuffle": ("SHFL",),
    "barrier": ("BAR",),
}
"""Columns of the instruction mix, by the instruction's first word."""


def page(data: dict[str, Any]) -> str:
    """The whole page as Markdown."""
    capabilities = data["capabilities"]
    arguments = "".join(f" --arch {one}" for one in capabilities) if capabilities != sorted(LIMITS) else ""
    parts = [_HEAD.format(arguments=arguments, **data["tools"])]
    for family in dict.fromkeys(row["family"] for row in data["kernels"]):
        rows = [row for row in data["kernels"] if row["family"] == family]
        lines = [line for line in data["rooflines"] if line["family"] == family]
        parts += [f"## {family}\n", _resources(rows, capabilities), _mix(rows, capabilities), _rooflines(lines)]
    parts.append(_sources())
    return "\n".join(parts)


def _resources(rows: list[dict[str, Any]], capabilities: list[int]) -> str:
    by_kernel = defaultdict(dict)
    for row in rows:
        by_kernel[row["kernel"]][row["capability"]] = row
    table = []
    for kernel, of in by_kernel.items():
        first = next(iter(of.values()))
        spilled = sum(row["spilled_bytes"] for row in of.values())
        shared = f"{first['static_shared_bytes']} + {first['dynamic_shared_bytes']}"
        table.append([f"`{kernel}`", first["threads"], shared, spilled, *(_fit(of[one]) for one in capabilities)])
    heads = ["Kernel", "threads", "shared, bytes", "spilled", *(f"sm_{one}" for one in capabilities)]
    return _table(heads, table) + _RESOURCES_NOTE


def _fit(row: dict[str, Any]) -> str:
    """Registers and occupancy."""
    if not row["occupancy"]:
        return "-"
    return f"{row['registers']}, {100 * row['occupancy']:.0f} {_SHORT[row['limited_by']]}"


_SHORT = {"registers": "r", "shared memory": "s", "warps": "w", "blocks": "b"}


def _mix(rows: list[dict[str, Any]], capabilities: list[int]) -> str:
    shown = 87 if 87 in capabilities else capabilities[0]
    table = []
    for row in rows:
        if row["capability"] != shown:
            continue
        counts = row["instructions"]
        cells = [sum(counts[word] for word in words) for words in MIX.values()]
        table.append([f"`{row['kernel']}`", *cells, counts["all"]])
    title = f"Instructions in the machine code for sm_{shown}, as they stand there, not as often as they run:\n\n"
    note = "Those of the other architectures are in [kernels.json](../benchmarks/results/kernels.json).\n"
    return title + _table(["Kernel", *MIX, "all"], table) + "\n" + note


def _rooflines(lines: list[dict[str, Any]]) -> str:
    if not lines:
        return ""
    table = []
    for line in lines:
        bounds = [line["bounds"][device.name] for device in DEVICES]
        times = [f"{_short(one['microseconds'])} {one['set_by'][0]}" for one in bounds]
        work = [_short(line["flops"] / 1e6), _short(line["bytes"] / 1e6), _short(line["flops"] / line["bytes"])]
        table.append([line["workload"], line["type"], *work, *times])
    heads = ["Call", "type", "MFLOP", "MB", "FLOP/B", *(f"{device.name}, µs" for device in DEVICES)]
    return _table(heads, table) + _ROOFLINE_NOTE


def _short(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _sources() -> str:
    lines = [f"- **{device.name}** (sm_{device.capability}): {device.source}." for device in DEVICES]
    return "\n".join(
        [
            "## Where the figures come from\n",
            f"- **Occupancy**: {LIMITS_SOURCE}.",
            f"- **Exponentials**: {EXP_SOURCE}.",
            *lines,
            "",
        ]
    )


def _table(heads: list[str], rows: list[list[Any]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)
