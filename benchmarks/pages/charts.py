"""The chart of docs/performance.md, as an SVG file that depends on nothing but the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

matplotlib.rcParams.update({"svg.hashsalt": "pvlr", "svg.fonttype": "none", "font.size": 10})

_OURS, _OTHERS = "#2f6f9f", "#b8bec5"


def draw_peers(data: dict[str, Any], path: Path) -> None:
    """A bar per peer; those of the SDK are in colour."""
    figures = {name: v for name, v in data["figures"].items() if not name.startswith("part")}
    figure = Figure(figsize=(8, 0.42 * len(figures) + 0.8), layout="constrained")
    axes = figure.subplots()
    names, times = list(figures)[::-1], [v["median_ms"] for v in figures.values()][::-1]
    bars = axes.barh(names, times, color=[_OURS if name.startswith("predict") else _OTHERS for name in names])
    axes.bar_label(bars, [f"{value:.1f}" for value in times], padding=3)
    axes.set(xlabel="ms per frame, median", xlim=(0, 1.1 * max(times)))
    figure.savefig(path, format="svg", metadata={"Date": None})
