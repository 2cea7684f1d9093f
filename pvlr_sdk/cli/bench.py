"""``pvlr bench``: performance of a plan on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from typer import Option

from . import option_groups, options

_STATISTICS = ("min", "mean", "p50", "p90", "p95", "p99", "p99.9")


def bench(
    plan: options.PlanArgument = None,
    *,
    image: Path | None = Option(
        None, metavar="FILE", help="The image to tag.", show_default="a synthetic 1920x1080 JPEG"
    ),
    seconds: float = Option(
        10, help="Maximum time for the latencies; the whole run takes three to four times as long."
    ),
    share: bool = Option(
        False, "--share", help="Print a table and a short JSON to publish, without private facts."
    ),
    as_json: options.Json = False,
    machine: option_groups.Machine,
) -> None:
    """Measure the performance of a plan on this machine.

    Measures latency, throughput, startup and memory. Warms up, then samples
    until the median is stable. Warns if the machine is too busy or too
    hot for reliable results.

    \b
    [bold]Examples[/bold]
    pvlr bench
    pvlr bench engine.plan --json > report.json
    pvlr bench --image photo.jpg
    pvlr bench --share
    """
    from ..workshop.diagnostics.bench import measure
    from ..workshop.diagnostics.bench.share import shared, to_markdown
    from .screen import Screen, note, print_json

    with Screen(measure.steps(), "Measuring", "steps") as screen:
        report = measure.bench(
            plan,
            image=image,
            seconds=seconds,
            progress=screen.step,
            **machine.arguments,
        )
    if share:
        report = shared(report)
    if as_json:
        print_json(report)
    elif share:
        print(to_markdown(report))
    else:
        _print_report(report)
    for doubt in report["warnings"]:
        note(f"these results are unreliable: {doubt}.")


def _print_report(report: dict[str, Any]) -> None:
    from .screen import precision_row, print_facts

    plan = report["plan"]
    image = report["picture"]
    start = report["start_ms"]
    size = f"{image['width']} x {image['height']}"
    latencies = (
        (stage, _row(f"{summary[name]:.2f}" for name in _STATISTICS))
        for stage, summary in report["latency_ms"].items()
    )
    print_facts(
        f"{plan['name']}, {plan['precision']}, {plan['threads']} threads, image of {size}",
        [("latency, ms", _row(_STATISTICS)), *latencies],
    )
    print()
    print_facts(
        "startup, throughput and memory",
        [
            (
                "load, ms",
                f"{start['load']:.0f}{' (cached)' if start['from_cache'] else ' (compiled)'}",
            ),
            ("first frame, ms", f"{start['first_frame']:.1f}"),
            *(
                (
                    f"images/s, {name}",
                    "  ".join(f"{count}: {rate:.1f}" for count, rate in rates.items()),
                )
                for name, rates in report["throughput"].items()
            ),
            *(
                (f"inference, {name}", precision_row(value))
                for name, value in report["precisions"].items()
            ),
            (
                "peak memory, MB",
                f"{report['peak_memory_mb']:.0f}" if report["peak_memory_mb"] else None,
            ),
            ("power mode", report["machine"]["power_mode"]),
        ],
    )


def _row(cells: Iterable[str]) -> str:
    return "".join(f"{cell:>8}" for cell in cells)
