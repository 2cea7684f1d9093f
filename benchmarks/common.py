"""What the scripts share: interleaved timing, the conditions of a run, and tables."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from rich.console import Console
from rich.table import Table

from pvlr_sdk.cores import available_cores

RESULTS = Path(__file__).parent / "results"

Case = Callable[[], object]


def interleaved(
    cases: Mapping[str, Case], rounds: int, *, calls: int = 5, warm_up: float = 0.3
) -> dict[str, list[float]]:
    """Milliseconds of each call; the cases take turns, so that a change in the machine's speed meets them all."""
    for case in cases.values():
        end = time.perf_counter() + warm_up
        case()
        while time.perf_counter() < end:
            case()
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            for _ in range(calls):
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
    """The machine and the versions that figures belong to."""
    versions = {"python": platform.python_version()}
    for package in ("pvlr-sdk", "openvino", "numpy", "opencv-python", *packages):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "machine": openvino.Core().get_property("CPU", "FULL_DEVICE_NAME"),
        "system": platform.system(),
        "cores": available_cores(),
        "threads": threads or available_cores(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
    }


def noise_frame(width: int = 1920, height: int = 1080) -> np.ndarray:
    """A BGR frame of 8 x 8 blocks in random colours, uint8 (height, width, 3)."""
    small = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One table for people; the first column is text, the others are figures."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


def write_json(path: Path | None, data: Mapping[str, Any]) -> None:
    """Write a result, if it is wanted."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1) + "\n")
