"""A plot of a report: histogram and timeline of the latencies."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ... import errors
from ..._util.files import write_files

_BINS = 60


def check_matplotlib() -> None:
    """Check that :func:`plot` can run, before a measurement that it would lose.

    Raises:
        MissingPartError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise errors.missing_package("--plot", "matplotlib", error, "bench") from error


def plot(report: dict[str, Any], out: Path) -> Path:
    """Write ``out.png``, and return its path. Raises OutputError: it cannot be written."""
    from matplotlib.figure import Figure

    totals, summary, plan = np.array(report["samples_ms"]), report["latency_ms"]["total"], report["plan"]
    figure = Figure(figsize=(9, 6), layout="constrained")
    histogram, timeline = figure.subplots(2)
    # The slowest thousandth would compress all others into one bar; the timeline shows it.
    histogram.hist(np.clip(totals, None, np.percentile(totals, 99.9)), _BINS, color="#4878a8")
    for name, colour in (("p50", "#222222"), ("p99", "#c44e52")):
        histogram.axvline(summary[name], color=colour, label=f"{name} {summary[name]:.2f} ms")
    histogram.set(xlabel="milliseconds from encoded image to tags", ylabel="frames")
    histogram.legend(frameon=False)
    timeline.plot(totals, ".", markersize=2, color="#4878a8")
    timeline.set(xlabel="frame", ylabel="milliseconds", ylim=(0, None))
    size = f"{report['picture']['width']} x {report['picture']['height']}"
    figure.suptitle(f"{plan['name']}, {plan['precision']}, {plan['threads']} threads, {size}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    path = out.with_suffix(".png")
    write_files({path: buffer.getvalue()})
    return path
