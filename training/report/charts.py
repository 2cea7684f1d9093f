"""Line charts in the units of an SVG, which the template draws without a script."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

WIDTH, HEIGHT = 420, 210

Points = list[tuple[float, float]]


def line_chart(
    lines: Iterable[tuple[int, str, Points]],
    x: tuple[str, float, float],
    y: tuple[str, float, float],
    *,
    whole_x: bool = False,
) -> dict[str, Any]:
    """A chart of 420 x 210 units with its origin at the top left.

    Args:
        lines: the index of the run, a class of the style sheet, and the points.
        x, y: the label of the axis, and its range.
        whole_x: only whole numbers are named on the x axis.
    """

    def across(value: float) -> float:
        return round((value - x[1]) / (x[2] - x[1]) * WIDTH, 1)

    def down(value: float) -> float:
        return round((y[2] - value) / (y[2] - y[1]) * HEIGHT, 1)

    return {
        "x": x[0],
        "y": y[0],
        "x_ticks": [(across(at), f"{at:g}") for at in _ticks(x[1], x[2], 1 if whole_x else 0)],
        "y_ticks": [(down(at), f"{at:g}") for at in _ticks(y[1], y[2])],
        "lines": [(run, kind, [(across(px), down(py)) for px, py in points]) for run, kind, points in lines],
    }


def precision_recall(curves: Iterable[Points]) -> dict[str, Any]:
    """Precision by recall, a curve for each run."""
    lines = ((run, "", points) for run, points in enumerate(curves) if points)
    return line_chart(lines, ("recall", 0, 1), ("precision", 0, 1))


def learning(logs: list[list[dict[str, Any]]], key: str) -> dict[str, Any] | None:
    """A column of the logs of the runs by epoch, a line for each stage; None if no log has it."""
    lines: list[tuple[int, str, Points]] = []
    for run, log in enumerate(logs):
        stages: dict[str, Points] = {}
        for epoch, row in enumerate(log, 1):
            if isinstance(row.get(key), int | float):
                stages.setdefault(row["stage"], []).append((epoch, row[key]))
        lines += [(run, "dashed" if stage == "head" else "", points) for stage, points in stages.items()]
    values = [value for *_, points in lines for _, value in points]
    if not values:
        return None
    room = 0.05 * (max(values) - min(values)) or 1
    epochs = ("epoch", 1, max(2, *map(len, logs)))
    return line_chart(lines, epochs, (key, min(values) - room, max(values) + room), whole_x=True)


def _ticks(low: float, high: float, least: float = 0) -> list[float]:
    """Round numbers from ``low`` to ``high``, about five and at least ``least`` apart."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = max(least, next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999 * rough))
    return [round(i * step, 9) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
