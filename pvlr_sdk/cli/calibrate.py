"""``pvlr calibrate``: new thresholds for a plan, chosen on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DeviceOption, JsonOption, MapOption, PrecisionOption, ThreadsOption

if TYPE_CHECKING:
    from ..calibrate import CalibrationReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="calibrate", no_args_is_help=True)(calibrate)


def calibrate(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="The plan whose thresholds are replaced.")],
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the photos.")],
    labels: Annotated[Path, typer.Option(metavar="CSV", help="Which labels are in which photo.")],
    split: Annotated[str | None, typer.Option(help="Only the rows of this split.")] = None,
    rename: MapOption = None,
    objective: Annotated[str, typer.Option(help="f1, precision=P or recall=R, for each label.")] = "f1",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Choose a plan's thresholds on labelled photos, and write them into its manifest and label bank.

    f1 is the best F1 of each label, drawn towards the common threshold where photos are few. precision=0.9 is the
    lowest threshold at which nine of ten tags are right, recall=0.9 the highest that finds nine of ten. Labels that no
    photo shows keep their threshold. Don't calibrate on photos that you measure with afterwards.

    \b
    [bold]Examples[/bold]
    pvlr calibrate engine.plan --images photos/ --labels labels.csv --split val
    pvlr calibrate engine.plan --images photos/ --labels labels.csv --objective precision=0.9 --dry-run
    """
    from ..bundle import read_manifest
    from ..calibrate import calibrate as choose
    from ..labels_csv import parse_renames, read_labels
    from ..thresholds import Objective
    from .screen import Screen, note, print_json

    wanted = Objective.parse(objective)
    names = [label.name for label in read_manifest(plan).labels]
    table = read_labels(labels, split, names, parse_renames(rename or []))
    with Screen(len(table.files), "Calibrating") as screen:
        report = choose(
            plan,
            images,
            table,
            wanted,
            write=not dry_run,
            progress=screen.step,
            device=device,
            num_threads=threads,
            precision=precision,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report, plan)
    for failed in report.failed_images:
        note(f"{failed['error']}: {failed['message']}")
    if report.failed_images:
        note(
            f"{len(report.failed_images)} of {len(table.files)} photos failed; the thresholds were chosen without them."
        )
        raise typer.Exit(2)


def _print_report(report: CalibrationReport, plan: Path) -> None:
    from .screen import print_facts

    def change(name: str) -> str:
        return f"{_number(report.before[name])} -> {_number(report.after[name])}"

    print_facts(
        f"{plan}: thresholds for {report.objective} on {report.images} photos, in percent",
        [
            ("per class", f"precision {change('CP')}, recall {change('CR')}, F1 {change('CF1')}"),
            ("overall", f"precision {change('OP')}, recall {change('OR')}, F1 {change('OF1')}"),
            ("out of reach", ", ".join(report.missed) or None),
            ("without photos", ", ".join(label.label for label in report.labels if not label.positives) or None),
            ("written", "yes" if report.written else "no (--dry-run)"),
        ],
    )
    print()
    print_facts(
        "thresholds",
        (
            (
                label.label,
                f"{label.before:.3f} -> {label.after:.3f}  ({label.positives} photos, "
                f"precision {_number(label.precision)}, recall {_number(label.recall)})",
            )
            for label in report.labels
            if label.positives
        ),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
