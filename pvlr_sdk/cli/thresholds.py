"""``pvlr thresholds``: new thresholds for a plan, chosen on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer import Argument, Option

from .. import errors
from . import option_groups, options
from .options import models, words

if TYPE_CHECKING:
    from ..workshop.evaluation.thresholds import ThresholdsReport


def thresholds(
    plan: Path = Argument(
        ...,
        metavar="PLAN",
        help="The plan to change; with --dry-run also the name of a model.",
        autocompletion=models,
    ),
    *,
    photos: option_groups.LabelledImages,
    objective: str = Option(
        "f1",
        metavar="OBJECTIVE",
        help="f1, precision=P or recall=R, for each label.",
        autocompletion=words("f1", "precision=", "recall="),
    ),
    tiles: options.Tiles = None,
    dry_run: bool = Option(
        False, "--dry-run", help="Report the new thresholds without writing them."
    ),
    as_json: options.Json = False,
    machine: option_groups.Machine,
) -> None:
    """Choose the thresholds of a plan on labelled images.

    Writes them to the manifest and the label bank of the plan, and to the label
    bank of its network in the same folder, so that later builds start from them.

    The objective f1 is the best F1 of each label, shrunk towards a common
    threshold if images are few; precision=0.9 is the lowest threshold at which
    90 % of the tags are correct; recall=0.9 is the highest that finds the label
    in 90 % of the images that show it.

    The thresholds for 90 % precision, which watch and serve use by default
    (--operating-point precise), are chosen too, and are never lower than the
    threshold of the objective. Labels without a positive image keep their
    thresholds.

    With --tiles, the thresholds for that layout of tiles are chosen instead: at
    f1 as many tags are correct as without tiles, at precise they have twice the
    odds. Use frames of your cameras.

    Do not evaluate on the images that the thresholds were chosen on.

    \b
    [bold]Examples[/bold]
    pvlr thresholds engine.plan --images photos/ --labels labels.csv --split val
    pvlr thresholds engine.plan --images photos/ --labels labels.csv \\
      --objective precision=0.9 --dry-run
    pvlr thresholds engine.plan --images frames/ --labels labels.csv --tiles 3x2
    """
    from ..bundle.bundle import read_manifest
    from ..frames.tiles import check_tiles
    from ..labels.thresholds import Objective
    from ..models.find import find_plan
    from ..workshop.evaluation.thresholds import set_thresholds
    from .screen import Screen, print_json, report_failed

    chosen_for = Objective.parse(objective)
    layout = check_tiles(tiles)
    if isinstance(layout, str) or layout == (1, 1):
        raise errors.OptionError(
            "--tiles", "a layout of tiles", repr(tiles), "For example --tiles 3x2, as in use."
        )
    if (path_found := find_plan(plan)) != plan and not dry_run and not plan.exists():
        raise errors.OptionError(
            "PLAN",
            "a plan of your own",
            f"the model {plan}, which other programs may use",
            f"Copy it first: cp -r {path_found.parent} my-{plan}",
        )
    plan = path_found
    names = [label.name for label in read_manifest(plan).labels]
    table = photos.table(names)
    with Screen(len(table.files), "Tagging") as screen:
        report = set_thresholds(
            plan,
            photos.images,
            table,
            chosen_for,
            prevalence=photos.prevalence,
            tiles=layout,
            write=not dry_run,
            progress=screen.step,
            **machine.arguments,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report, plan)
    if report_failed(report.failed_images, len(table.files)):
        raise typer.Exit(2)


def _print_report(report: ThresholdsReport, plan: Path) -> None:
    from .screen import decimal, print_facts

    def f1(kind: str) -> str:
        measures = {"precision": f"{kind}P", "recall": f"{kind}R", "F1": f"{kind}F1"}
        before = report.before
        after = report.after
        return ", ".join(
            f"{name} {decimal(before[key])} -> {decimal(after[key])}"
            for name, key in measures.items()
        )

    def reached(precision: float | None, recall: float | None) -> str:
        return f"precision {decimal(precision)}, recall {decimal(recall)}"

    for_tiles = f" with {report.tiles} tiles" if report.tiles else ""
    print_facts(
        f"{plan}: thresholds{for_tiles} for {report.objective} on {report.images} images, in percent",
        [
            ("per class", f1("C")),
            ("overall", f1("O")),
            ("precise", f"{reached(report.precise['OP'], report.precise['OR'])}, overall"),
            ("out of reach", ", ".join(report.missed) or None),
            (
                "without images",
                ", ".join(label.label for label in report.labels if not label.positives) or None,
            ),
            ("written", "yes" if report.written else "no (--dry-run)"),
        ],
    )
    measured = [label for label in report.labels if label.positives]
    changes = [
        f"{label.before:.3f} -> {label.after:.3f}  ({label.positives} images, {reached(label.precision, label.recall)})"
        for label in measured
    ]
    precise = [
        f"{label.precise:.3f}  ({reached(label.precise_precision, label.precise_recall)})"
        for label in measured
    ]
    for title, values in (("thresholds", changes), ("precise thresholds", precise)):
        print()
        print_facts(title, zip([label.label for label in measured], values, strict=True))
