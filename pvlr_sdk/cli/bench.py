"""``pvlr bench``: how fast a plan is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DeviceOption, JsonOption, PlanArgument, PrecisionOption, ThreadsOption

if TYPE_CHECKING:
    from ..bench.compare import Change

_SLOWER = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="bench")(bench)


def bench(
    plan: PlanArgument = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The picture to tag; by default a synthetic 1920x1080 JPEG.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="The most time for the latencies; all takes three to four times that.")
    ] = 10,
    old: Annotated[
        Path | None, typer.Option("--compare", metavar="OLD.json", help="An earlier report, from --json.")
    ] = None,
    allowed: Annotated[
        str | None,
        typer.Option(
            "--fail-if-regression",
            metavar="SHARE",
            help="With --compare: end with status 1 if a frame, its inference or the best rate got this much worse.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw histogram and timeline: FILE.png and FILE.html.")
    ] = None,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Measure a plan: percentiles of each stage, images a second, start, memory and energy.

    Warms up by time, then samples until the median is stable. Warns if the machine is too busy or too hot for figures
    that one can believe.

    \b
    [bold]Examples[/bold]
    pvlr bench
    pvlr bench engine.plan --json > old.json
    pvlr bench engine.plan --compare old.json --fail-if-regression 5%
    pvlr bench --image photo.jpg --plot bench
    """
    from ..bench import compare, measure
    from .screen import Screen, note, print_json

    limit = compare.share(allowed) if allowed is not None else None
    before = compare.load(old) if old is not None else None
    with Screen(measure.steps(), "Measuring") as screen:
        report = measure.bench(
            plan,
            image=image,
            seconds=seconds,
            progress=screen.step,
            device=device,
            num_threads=threads,
            precision=precision,
        )
    changes = compare.changes(before, report) if before else []
    if as_json:
        print_json({**report, "changes": [vars(change) for change in changes]} if before else report)
    else:
        _print_report(report, changes)
    if plot:
        from ..bench.plot import plot as draw

        for path in draw(report, plot):
            note(f"wrote {path}")
    for doubt in report["warnings"]:
        note(f"don't trust these figures: {doubt}.")
    for difference in compare.differences(before, report) if before else []:
        note(f"not the same as before: {difference}.")
    worse = compare.regressions(changes, limit) if limit is not None else []
    for change in worse:
        note(f"{change.figure}: {change.old:.2f} then, {change.new:.2f} now, {100 * change.worse:.1f} % worse.")
    if worse:
        raise typer.Exit(_SLOWER)


def _print_report(report: dict[str, Any], changes: list[Change]) -> None:
    from .screen import print_facts

    plan, picture, start = report["plan"], report["picture"], report["start_ms"]
    size = f"{picture['width']} x {picture['height']}"
    print_facts(
        f"{plan['name']}, {plan['precision']}, {plan['threads']} threads, a picture of {size}",
        [
            *((f"{stage}, ms", _line(figures)) for stage, figures in report["latency_ms"].items()),
            ("load, ms", f"{start['load']:.0f}{' (compiled earlier)' if start['from_cache'] else ' (compiled now)'}"),
            ("first frame, ms", f"{start['first_frame']:.1f}"),
            *(
                (f"images/s, {name}", "  ".join(f"{count}: {rate:.1f}" for count, rate in rates.items()))
                for name, rates in report["throughput"].items()
            ),
            ("peak memory, MB", f"{report['peak_memory_mb']:.0f}" if report["peak_memory_mb"] else None),
            ("energy, J a frame", report["energy"]["joules_per_frame"] or "the machine does not tell"),
            ("power mode", report["machine"]["power_mode"]),
        ],
    )
    if changes:
        print()
        rows = ((c.figure, f"{c.old:.2f} -> {c.new:.2f}  ({100 * c.worse:+.1f} % worse)") for c in changes)
        print_facts("against the earlier report", rows)


def _line(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {figures[name]:.2f}" for name in ("min", "mean", "p50", "p90", "p95", "p99", "p99.9"))
