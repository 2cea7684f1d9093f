"""Plots of a report: histogram and timeline of the latencies, as a PNG and in an HTML page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from ... import errors
from ..._util import escape
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


def plot(report: dict[str, Any], out: Path) -> list[Path]:
    """Write ``out.png`` and ``out.html``, and return both paths.

    Raises:
        MissingPartError: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    check_matplotlib()
    picture = _png(report)
    paths = [out.with_suffix(".png"), out.with_suffix(".html")]
    write_files({paths[0]: picture, paths[1]: _page(report, picture).encode()})
    return paths


def _png(report: dict[str, Any]) -> bytes:
    from matplotlib.figure import Figure

    totals, summary = np.array(report["samples_ms"]), report["latency_ms"]["total"]
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
    figure.suptitle(_title(report))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _page(report: dict[str, Any], picture: bytes) -> str:
    columns = ["min", "mean", "p50", "p90", "p95", "p99", "p99.9"]
    head = "".join(f"<th>{name}</th>" for name in ["ms", *columns])
    rows = "".join(
        f"<tr><th>{stage}</th>" + "".join(f"<td>{summary[name]:.3f}</td>" for name in columns) + "</tr>"
        for stage, summary in report["latency_ms"].items()
    )
    rates = "".join(
        f"<tr><th>{escape.html(name)} {count}</th><td>{rate:.1f}</td></tr>"
        for name, group in report["throughput"].items()
        for count, rate in group.items()
    )
    facts = {**report["machine"], **report["plan"], "peak memory, MB": report["peak_memory_mb"], **report["energy"]}
    lines = "".join(f"<tr><th>{escape.html(k)}</th><td>{escape.html(str(v))}</td></tr>" for k, v in facts.items())
    warnings = "".join(f"<p class=warning>{escape.html(text)}</p>" for text in report["warnings"])
    image = base64.b64encode(picture).decode()
    return f"""<!doctype html><html lang=en><meta charset=utf-8><title>{escape.html(_title(report))}</title>
<style>body {{ font: 15px sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }} img {{ max-width: 100% }}
th {{ text-align: left; font-weight: normal; padding-right: 1.5em }} td {{ text-align: right; padding-right: 1em }}
.warning {{ background: #fff3cd; padding: .5em }}</style>
<h1>{escape.html(_title(report))}</h1>{warnings}
<table><tr>{head}</tr>{rows}</table>
<p><img alt="Histogram and timeline of the latencies" src="data:image/png;base64,{image}"></p>
<h2>Images per second</h2><table>{rates}</table><h2>Machine</h2><table>{lines}</table></html>
"""


def _title(report: dict[str, Any]) -> str:
    plan, picture = report["plan"], report["picture"]
    return f"{plan['name']}, {plan['precision']}, {plan['threads']} threads, {picture['width']} x {picture['height']}"
