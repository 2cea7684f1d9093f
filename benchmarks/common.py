"""Shared by all benchmarks: command-line options, interleaved timing, the conditions of a run, tables, results."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table as RichTable

from pvlr_sdk._util.cores import available_cores
from pvlr_sdk._util.files import write_files
from pvlr_sdk.backends.openvino import open_core
from pvlr_sdk.errors import PvlrError
from pvlr_sdk.workshop.diagnostics.bench.sampling import repeat_for

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"
SAMPLES = [DOCS / "images" / f"{name}.jpg" for name in ("astronaut", "chelsea", "coffee")]

Plan = Annotated[Path | None, typer.Argument(help="Plan to measure. Default: the bundled model.")]
Int8 = Annotated[Path | None, typer.Option(help="The same model as an int8 plan.")]
Threads = Annotated[int, typer.Option(help="Threads of each engine.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")]

Case = Callable[[], object]

_WARM_UP = 0.3
_CALLS = 5
"""Seconds before the first round, and calls of a case in each round."""


def run(main: Callable[..., int | None], *, passive: bool = False) -> None:
    """Run ``main`` as a command whose options are its annotated parameters.

    ``passive`` keeps idle OpenMP threads from spinning, which slows down whatever else runs.
    """
    if passive:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    typer.run(command(main))


def command(main: Callable[..., int | None]) -> Callable[..., None]:
    """``main``, which may return an exit status, as a command for typer.

    An error of the SDK is one message and the exit status 2, as for ``pvlr``.
    """

    @functools.wraps(main)
    def called(*arguments: Any, **options: Any) -> None:
        try:
            status = main(*arguments, **options) or 0
        except PvlrError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
        raise typer.Exit(status)

    return called


def interleaved(cases: Mapping[str, Case], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call. The cases take turns, so that a change in the machine's speed affects all of them."""
    for case in cases.values():
        repeat_for(_WARM_UP, case)
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            for _ in range(_CALLS):
                began = time.perf_counter()
                case()
                samples[name].append(1e3 * (time.perf_counter() - began))
    return samples


def summarise(samples: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Median, p99 and minimum of each case, in ms."""
    return {
        name: {
            "median_ms": round(float(np.median(values)), 4),
            "p99_ms": round(float(np.percentile(values, 99)), 4),
            "min_ms": round(min(values), 4),
            "calls": len(values),
        }
        for name, values in samples.items()
    }


def conditions(threads: int | None = None, *packages: str) -> dict[str, Any]:
    """The machine and the package versions that results belong to."""
    versions = {"python": platform.python_version()}
    for package in ("pvlr-sdk", "openvino", "numpy", "opencv-python", *packages):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "machine": open_core().get_property("CPU", "FULL_DEVICE_NAME"),
        "system": platform.system(),
        "cores": available_cores(),
        "threads": threads or available_cores(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
    }


@dataclass(frozen=True)
class Table:
    """Results for the terminal and for a page; the first column is text, the others are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def print(self, width: int = 140) -> None:
        table = RichTable(title=self.title)
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        Console(width=width).print(table)

    def markdown(self, align: str = "---") -> str:
        """The table without its title; ``align`` is ``---:`` for columns of numbers aligned to the right."""
        lines = [self.columns, ["---", *[align] * (len(self.columns) - 1)], *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def save(path: Path | None, data: Mapping[str, Any]) -> None:
    """Write a result as JSON; nothing if there is no path. An earlier file is replaced atomically."""
    if path:
        write_files({path: f"{json.dumps(data, indent=1)}\n".encode()})
