"""``pvlr eval``: accuracy of a plan on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from . import option_groups, options

if TYPE_CHECKING:
    from ..workshop.evaluation.evaluate import EvalReport


def evaluate(
    plan: options.PlanArgument = None,
    *,
    words: options.Words = None,
    bank: options.Bank = None,
    photos: option_groups.LabelledImages,
    operating_point: options.Point = "f1",
    tiles: options.Tiles = None,
    as_json: options.Json = False,
    machine: option_groups.Machine,
) -> None:
    """Measure the accuracy of a plan on labelled images.

    Prints mAP, precision, recall, F1 and the average precision of each label, in
    percent, and what to expect on other images, with 95 % intervals: where labels
    are as frequent as in these images, and as frequent as --prevalence states.
    Warns if there are too few images for reliable metrics. --words and --bank
    measure other labels than the plan's.

    The CSV has the columns file, split (optional) and one column per label, with
    the values 1 (present), -1 (absent) and 0 or empty (not counted). In a file
    without -1, 0 means absent; in one without either, empty means absent. Labels
    without a column are listed, not measured.
    The other formats of `pvlr train` are accepted too.

    \b
    [bold]Examples[/bold]
    pvlr eval --images photos/ --labels labels.csv
    pvlr eval engine.plan --images photos/ --labels labels.csv --split val --json
    pvlr eval --images photos/ --labels labels.csv --operating-point precise
    pvlr eval --images photos/ --labels labels.csv --prevalence unlabelled/
    pvlr eval --images photos/ --labels labels.csv --map voc_to_coco.json
    pvlr eval --images photos/ --labels labels.csv --map sofa=couch
    pvlr eval --images photos/ --labels labels.csv --words "castle, forklift"
    pvlr eval --images photos/ --labels labels.csv --bank bank.safetensors
    """
    from ..tagger import Tagger
    from ..workshop.evaluation.evaluate import evaluate as measure
    from .screen import Screen, print_json, report_failed

    with Tagger(
        plan,
        words=options.split_words(words),
        bank=bank,
        operating_point=operating_point,
        tiles=tiles,
        optimize="throughput",
        **machine.arguments,
    ) as tagger:
        table = photos.table(tagger.labels)
        with Screen(len(table.files), "Evaluating") as screen:
            report = measure(tagger, photos.images, table, screen.step, photos.prevalence)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)
    if report_failed(report.failed_images, len(table.files)):
        raise typer.Exit(2)


def _few(labels: Sequence[str]) -> str | None:
    from .._util.validation import few

    return few(labels) or None


def _print_report(report: EvalReport) -> None:
    from .screen import decimal, note, print_facts, shares, with_intervals

    def f1(kind: str, top: str = "") -> str:
        precision, recall, value = (
            decimal(getattr(report, name + top)) for name in (f"{kind}P", f"{kind}R", f"{kind}F1")
        )
        return f"precision {precision}, recall {recall}, F1 {value}"

    print_facts(
        f"{report.model} ({report.precision}) on {report.images} images, in percent",
        [
            ("mAP", decimal(report.mAP)),
            ("mAP, 11 points", decimal(report.mAP_11pt)),
            ("per class", f1("C")),
            ("overall", f1("O")),
            ("per class, top 3", f1("C", "_top3")),
            ("overall, top 3", f1("O", "_top3")),
            ("calibration error", decimal(report.ECE)),
            ("on other images", with_intervals(report.expected)),
            ("prevalence", shares(report.prevalence) if report.prevalence else None),
            (
                "at that prevalence",
                with_intervals(report.expected_there) if report.expected_there else None,
            ),
            ("seconds", f"{report.seconds:.1f}"),
            ("not measured", _few(report.missing_labels)),
            ("unknown columns", _few(report.extra_columns)),
        ],
    )
    print()
    rows = (
        (label, f"{decimal(value)}  ({report.positives[label]} images)")
        for label, value in report.per_class.items()
    )
    print_facts("average precision", rows)
    for doubt in report.doubts:
        note(doubt)
