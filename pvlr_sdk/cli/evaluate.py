"""``pvlr eval``: how well a compiled plan tags labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DeviceOption, JsonOption, MapOption, PlanArgument, PrecisionOption, ThreadsOption

if TYPE_CHECKING:
    from ..evaluate import EvalReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="eval", no_args_is_help=True)(evaluate)


def evaluate(
    plan: PlanArgument = None,
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the photos.")] = ...,  # type: ignore[assignment]
    labels: Annotated[Path, typer.Option(metavar="CSV", help="Which labels are in which photo.")] = ...,  # type: ignore[assignment]
    split: Annotated[
        str | None,
        typer.Option(help="Only the rows of this split."),
    ] = None,
    rename: MapOption = None,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Measure a plan on labelled photos: mAP, F1 and the average precision of each label, in percent.

    The CSV has the columns file, split and one a label with 1 (present), -1 (absent), 0 or empty (not counted); if it
    holds no -1 at all, 0 means absent. Labels without a column are reported and not counted.

    \b
    [bold]Examples[/bold]
    pvlr eval --images photos/ --labels labels.csv
    pvlr eval engine.plan --images photos/ --labels labels.csv --split val --json
    pvlr eval --images VOC/images --labels VOC/labels.csv --map training/configs/voc_to_coco.json
    pvlr eval --images my/ --labels my.csv --map sofa=couch --map tvmonitor=tv
    """
    from ..evaluate import evaluate as measure
    from ..labels_csv import parse_renames, read_labels
    from ..tagger import Tagger
    from .screen import Screen, note, print_json

    with Tagger(plan, device=device, optimize="throughput", num_threads=threads, precision=precision) as tagger:
        table = read_labels(labels, split, tagger.labels, parse_renames(rename or []))
        with Screen(len(table.files), "Evaluating") as screen:
            report = measure(tagger, images, table, screen.step)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)
    for failed in report.failed_images:
        note(f"{failed['error']}: {failed['message']}")
    if report.failed_images:
        note(f"{len(report.failed_images)} of {len(table.files)} photos failed; the measures leave them out.")
        raise typer.Exit(2)


def _print_report(report: EvalReport) -> None:
    from .screen import print_facts

    print_facts(
        f"{report.model} ({report.precision}) on {report.images} photos, in percent",
        [
            ("mAP", _number(report.mAP)),
            ("mAP, 11 points", _number(report.mAP_11pt)),
            ("per class", _f1(report.CP, report.CR, report.CF1)),
            ("overall", _f1(report.OP, report.OR, report.OF1)),
            ("per class, top 3", _f1(report.CP_top3, report.CR_top3, report.CF1_top3)),
            ("overall, top 3", _f1(report.OP_top3, report.OR_top3, report.OF1_top3)),
            ("seconds", f"{report.seconds:.1f}"),
            ("not measured", ", ".join(report.missing_labels) or None),
            ("unknown columns", ", ".join(report.extra_columns) or None),
        ],
    )
    print()
    print_facts("average precision", ((label, _number(value)) for label, value in report.per_class.items()))


def _f1(precision: float | None, recall: float | None, f1: float | None) -> str:
    return f"precision {_number(precision)}, recall {_number(recall)}, F1 {_number(f1)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
