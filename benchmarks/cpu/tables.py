"""The table of the comparison with peers, for the terminal and for docs/performance.md."""

from __future__ import annotations

from typing import Any

from ..common import Table

Data = dict[str, Any]


def peers(data: Data) -> Table:
    """Times of a frame, relative to ``predict()``, and the agreement with fp32."""
    conditions, agreement = data["conditions"], data["agreement"]
    base = next(iter(data["figures"].values()))["median_ms"]
    rows = [
        [
            name,
            *(f"{values[key]:.2f}" for key in ("median_ms", "p99_ms", "min_ms")),
            f"{values['median_ms'] / base:.2f}",
            f"{100 * agreement[name]['same_tag_sets']:.0f} %" if name in agreement else "",
            f"{agreement[name]['largest_score_difference']:.3f}" if name in agreement else "",
        ]
        for name, values in data["figures"].items()
    ]
    columns = ["", "Median, ms", "p99, ms", "Min, ms", "/ predict()", "Same tags", "Score difference"]
    title = f"{conditions['plan']}, {conditions['threads']} threads per engine, {conditions['photos']} images compared"
    return Table(title, columns, rows)
