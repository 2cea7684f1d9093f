"""Learning curves in the units of an SVG, 420 x 210 as in the template, which draws them without a script."""

from __future__ import annotations

import math
from typing import Any

_WIDTH, _HEIGHT = 420, 210

Points = list[tuple[float, float]]


def learning_curves(logs: list[list[dict[str, Any]]], key: str) -> dict[str, Any] | None:
    """A column of the logs of the runs by epoch, a line for each stage; None if no log has it.

    Returns:
        ``lines``, each with the index of its run, whether it is the stage *head*, and its points; ``epochs`` and
        ``levels`` are the ticks of the axes, each with its text. The origin is at the top left.
    """
    stages: dict[tuple[int, str], Points] = {}
    for run, log in enumerate(logs):
        for epoch, row in enumerate(log, 1):
            if isinstance(row.get(key), int | float):
                stages.setdefault((run, row["stage"]), []).append((epoch, row[key]))
    values = [value for points in stages.values() for _, value in points]
    if not values:
        return None
    last, room = max(2, *map(len, logs)), 0.05 * (max(values) - min(values)) or 1
    low, high = min(values) - room, max(values) + room

    def across(epoch: float) -> float:
        return round((epoch - 1) / (last - 1) * _WIDTH, 1)

    def down(value: float) -> float:
        return round((high - value) / (high - low) * _HEIGHT, 1)

    return {
        "lines": [
            (run, stage == "head", [(across(epoch), down(value)) for epoch, value in points])
            for (run, stage), points in stages.items()
        ],
        "epochs": [(across(at), f"{at:g}") for at in _ticks(1, last, 1)],
        "levels": [(down(at), f"{at:g}") for at in _ticks(low, high)],
    }


def _ticks(low: float, high: float, least: float = 0) -> list[float]:
    """Round numbers from ``low`` to ``high``, about five and at least ``least`` apart."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = max(
        least, next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999 * rough)
    )
    return [
        round(i * step, 9)
        for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
