"""The pictures of docs/performance.md, as SVG that is the same for the same figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

matplotlib.rcParams.update({"svg.hashsalt": "pvlr", "svg.fonttype": "none", "font.size": 10})

_OURS, _OTHERS = "#2f6f9f", "#b8bec5"


def draw_peers(data: dict[str, Any], path: Path) -> None:
    """A bar for each peer, ours in colour."""
    figures = {name: v for name, v in data["figures"].items() if not name.startswith("part")}
    figure = Figure(figsize=(8, 0.42 * len(figures) + 0.8), layout="constrained")
    axes = figure.subplots()
    names, times = list(figures)[::-1], [v["median_ms"] for v in figures.values()][::-1]
    bars = axes.barh(names, times, color=[_OURS if name.startswith("predict") else _OTHERS for name in names])
    axes.bar_label(bars, [f"{value:.1f}" for value in times], padding=3)
    axes.set(xlabel="milliseconds a frame, median", xlim=(0, 1.1 * max(times)))
    _save(figure, path)


def draw_layers(data: dict[str, Any], path: Path) -> None:
    """A stacked bar for each precision, a colour for each kind of layer."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    precisions = list(data["layers"])[::-1]
    kinds = sorted({kind for table in data["layers"].values() for kind in table if not kind.startswith("~")})
    left = [0.0] * len(precisions)
    for kind, colour in zip(kinds, matplotlib.colormaps["tab10"].colors, strict=False):
        width = [data["layers"][precision].get(kind, {"ms": 0.0})["ms"] for precision in precisions]
        axes.barh(precisions, width, left=left, label=kind, color=colour)
        left = [a + b for a, b in zip(left, width, strict=True)]
    axes.set(xlabel="milliseconds")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    _save(figure, path)


def draw_scaling(data: dict[str, Any], path: Path) -> None:
    """The first three curves, both axes logarithmic, with a line of linear growth from the last point."""
    curves = list(data["curves"].items())[:3]
    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (name, curve) in zip(figure.subplots(1, len(curves)), curves, strict=True):
        x = [int(value) for value in curve["figures"]]
        y = [v["median_ms"] for v in curve["figures"].values()]
        axes.loglog(x, y, "o-", color=_OURS, label="measured")
        axes.loglog(x, [y[-1] * value / x[-1] for value in x], "--", color=_OTHERS, label="linear")
        axes.minorticks_off()
        axes.set_xticks(x, [f"{value:,}" for value in x], rotation=45, fontsize=8)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set(xlabel=name, ylabel="milliseconds")
        axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
