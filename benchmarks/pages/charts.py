"""The charts of docs/performance.md and docs/accuracy.md, as SVG files that depend on nothing but the results."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

matplotlib.rcParams.update({"svg.hashsalt": "pvlr", "svg.fonttype": "none", "font.size": 10})

_OURS, _OTHERS = "#2f6f9f", "#b8bec5"
_MARKERS = {"bf16": "o", "fp32": "s", "int8": "^"}


def draw_peers(data: dict[str, Any], path: Path) -> None:
    """A bar per peer; those of the SDK are in colour."""
    figures = {name: v for name, v in data["figures"].items() if not name.startswith("part")}
    figure = Figure(figsize=(8, 0.42 * len(figures) + 0.8), layout="constrained")
    axes = figure.subplots()
    names, times = list(figures)[::-1], [v["median_ms"] for v in figures.values()][::-1]
    bars = axes.barh(names, times, color=[_OURS if name.startswith("predict") else _OTHERS for name in names])
    axes.bar_label(bars, [f"{value:.1f}" for value in times], padding=3)
    axes.set(xlabel="ms per frame, median", xlim=(0, 1.1 * max(times)))
    _save(figure, path)


def draw_frontier(data: dict[str, Any], path: Path) -> None:
    """mAP against time: a colour per model, a marker per precision, and a line along those that no other beats.

    The points of a model with several input sizes show theirs.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    points = sorted(data["points"], key=lambda point: point["median_ms"])
    best = [point for point in points if point["frontier"]]
    axes.step([p["median_ms"] for p in best], [p["mAP"] for p in best], where="post", color=_OTHERS, label="frontier")
    models = dict.fromkeys(point["model"] for point in data["points"])
    for model, colour in zip(models, cycle(matplotlib.colormaps["tab20"].colors), strict=False):
        axes.plot([], [], "o", color=colour, label=model)
        own = [point for point in points if point["model"] == model]
        for point in own:
            place = point["median_ms"], point["mAP"]
            axes.plot(*place, _MARKERS.get(point["precision"], "D"), color=colour, zorder=3)
            if len({point["input"] for point in own}) > 1:
                axes.annotate(point["input"], place, (4, -9), textcoords="offset points", fontsize=7, color=colour)
    for precision in dict.fromkeys(point["precision"] for point in points):
        axes.plot([], [], _MARKERS.get(precision, "D"), color="black", fillstyle="none", label=precision)
    axes.set_xlim(left=0)
    axes.set(xlabel="ms per frame, median", ylabel="mAP")
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
