"""``pvlr check-labels``: labels of a set that are probably wrong."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer
from typer import Option

from .. import errors
from . import option_groups, options


def check_labels(
    plan: options.PlanArgument = None,
    *,
    labels: Path = Option(..., metavar="CSV", help="Labels of each image."),
    images: Path | None = Option(None, metavar="DIR", help="Folder of the images."),
    split: options.Split = None,
    answers: Path | None = Option(None, "--apply", metavar="CSV", help="Answers to write into it."),
    out: Path = Option(..., "--out", "-o", metavar="FILE", help="Name of the new page and CSV."),
    as_json: options.Json = False,
    machine: option_groups.Machine,
) -> None:
    """Find labels that are probably wrong, and what more photos would bring.

    A classifier on the image features of an open plan scores each photo that it
    has not seen, and cleanlab compares the scores with the labels. Writes a page
    with the suspect labels, the worst first, and a CSV of them: file, label,
    value (?), labelled, score, twin. Near-duplicates that are labelled otherwise
    (twin) come first. A suspect is a question: many labels are right.

    In the CSV, set value to 1 (present) or -1 (absent), and delete the lines of
    labels that stay; ? is unknown. --apply writes a labels CSV with these
    answers. Unknown labels stay unknown. Needs the extra \\[check].

    \b
    [bold]Examples[/bold]
    pvlr check-labels --images photos/ --labels labels.csv -o suspects
    pvlr check-labels --labels labels.csv --apply suspects.csv -o corrected
    pvlr check-labels --images photos/ --labels labels.csv -o more --json
    """
    from .._util.files import write_files
    from ..tagger import Tagger
    from ..workshop.evaluation import corrections, label_check
    from ..workshop.evaluation.labels_csv import read_columns, read_labels
    from .screen import Screen, decimal, note, print_facts, print_json, report_failed

    table_path = out.with_suffix(".csv")
    if table_path.exists():
        hint = "Choose another name: it may have labels or answers."
        raise errors.OptionError("--out", "a new file", f"{table_path}, which exists", hint)
    if answers is not None:
        write_files({table_path: corrections.corrected(labels, answers).encode()})
        print(table_path)
        return
    if images is None:
        raise errors.OptionError(
            "--images", "the folder of the images", "none", "Add --images DIR."
        )
    names = read_columns(labels)
    table = read_labels(labels, split, names)
    with (
        Tagger(plan, optimize="throughput", **machine.arguments) as tagger,
        Screen(len(table.files), "Reading") as screen,
    ):
        check = label_check.check_labels(tagger, images, table, names, screen.step)
    page = out.with_suffix(".html")
    files = {page: corrections.page(check.suspects, images)}
    files[table_path] = corrections.suspects_csv(check.suspects)
    write_files({path: text.encode() for path, text in files.items()})
    if as_json:
        print_json(asdict(check))
    else:
        rows = (
            (f.label, f"{f.suspects:4} {decimal(f.average_precision):>7} {decimal(f.twice):>7}")
            for f in check.labels
        )
        print_facts("suspect labels, average precision, expected with twice the photos", rows)
        for doubt in check.doubts:
            note(doubt)
        print(f"{page}\n{table_path}")
    if report_failed(check.failed_images, len(table.files)):
        raise typer.Exit(2)
