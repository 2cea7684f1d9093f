"""``pvlr teach``: labels for an open plan from a few photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer import Option

from .. import errors
from . import options

if TYPE_CHECKING:
    from ..labels import Photos, Teaching


def teach(
    plan: options.Plan,
    out: Path = Option(..., "--out", "-o", metavar="FILE", help="The label bank to write."),
    label: list[str] | None = Option(
        None,
        "--label",
        "-l",
        metavar="LABEL",
        help="The label to teach; with --labels, the labels to teach (default: all).",
    ),
    positives: list[str] | None = Option(
        None, metavar="DIR", help="Photos that show the label: a folder or files; repeatable."
    ),
    negatives: list[str] | None = Option(
        None, metavar="DIR", help="Photos that do not show the label; repeatable."
    ),
    labels: Path | None = Option(
        None, metavar="CSV", help="Labels of each image, to teach several labels."
    ),
    images: Path | None = Option(None, metavar="DIR", help="Folder of the images."),
    split: options.Split = None,
    rename: list[str] | None = Option(
        None, "--map", metavar="JSON|A=B", help="Rename columns of the CSV; repeatable."
    ),
    bank: Path | None = Option(
        None, metavar="FILE", help="The label bank to change.", show_default="the plan's bank"
    ),
    no_words: bool = Option(False, "--no-words", help="Learn from the photos alone."),
    replace: bool = Option(False, "--replace", help="Also teach labels that the bank already has."),
    prevalence: float | None = Option(
        None,
        metavar="SHARE",
        help="How frequent the labels are in use, such as 0.02.",
        show_default="as in the photos",
    ),
    forget: list[str] | None = Option(
        None, metavar="LABEL", help="Undo the teaching of LABEL; repeatable."
    ),
    report: Path | None = Option(
        None,
        metavar="HTML",
        help="The report to write.",
        show_default="next to --out",
    ),
    as_json: options.Json = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = None,
    allow_unsigned: options.AllowUnsigned = False,  # sets the environment variable
) -> None:
    """Teach labels to an open plan with a few photos, in seconds and without PyTorch.

    Writes a label bank with the labels of the plan and the new ones, for
    Tagger.set_labels, and an HTML page with precision, recall and the photos that
    it gets wrong, by cross-validation, of all labels that the bank was taught.
    The photos are read on this machine only.

    A label starts from its words if the plan's knowledge file knows them (see
    [bold]pvlr words[/bold]), or if the plan reads words (needs the extra \\[words]),
    and from nothing otherwise. The thresholds are chosen by cross-validation;
    with a single photo of the label, nothing can be measured.

    \b
    [bold]Examples[/bold]
    pvlr teach engine.plan --label "my mug" --positives mug/ --negatives other/ \\
      -o bank.safetensors
    pvlr teach engine.plan --labels labels.csv --images photos/ \\
      -o bank.safetensors
    pvlr teach engine.plan --bank bank.safetensors -o bank.safetensors \\
      --label "my pen" --positives pen/ --negatives other/
    pvlr teach engine.plan --bank bank.safetensors -o bank.safetensors \\
      --forget "my mug"
    """
    from .._util.files import write_files
    from ..bundle.label_bank import LabelBank
    from ..labels import forget as forget_labels
    from ..labels import teach as learn
    from ..labels.page import page
    from .screen import Screen, print_json, report_failed

    if out.exists() and not (bank and bank.exists() and out.samefile(bank)):
        raise errors.OptionError(
            "--out",
            "a new file",
            f"{out}, which exists",
            f"To change it, add --bank {out}; to start again, remove it.",
        )
    bank_given = LabelBank.load(bank) if bank else None
    report = report or out.with_suffix(".html")
    before = next(
        (
            path
            for path in (report, bank.with_suffix(".html") if bank else report)
            if path.is_file()
        ),
        None,
    )
    earlier = before.read_text("utf-8", "replace") if bank_given and before else ""
    if forget:
        if bank_given is None or label or labels or positives or negatives or images:
            raise errors.OptionError(
                "--forget",
                "--bank, and nothing to teach",
                "labels to teach" if bank_given else "no --bank",
                "Forget labels first, then teach others.",
            )
        left = forget_labels(bank_given, forget)
        pages = {report: page(left, earlier=earlier).encode()} if earlier else {}
        write_files({**pages, out: left.to_bytes()})
        print(out)
        return
    photos = _photos(label, positives, negatives, labels, images, split, rename)
    with Screen(len(photos.files), "Reading") as screen:
        taught = learn(plan, photos, bank=bank_given, progress=screen.step,
                       words=not no_words, replace=replace, prevalence=prevalence,
                       device=device, num_threads=threads, precision=precision)  # fmt: skip
    html = page(taught.bank, taught.labels, taught.failed, earlier=earlier)
    write_files({report: html.encode(), out: taught.bank.to_bytes()})
    if as_json:
        print_json(taught.to_dict())
    else:
        _print(taught, out, report)
    if report_failed(taught.failed, len(photos.files) + len(photos.failed)):
        raise typer.Exit(2)


def _photos(
    label: list[str] | None,
    positives: list[str] | None,
    negatives: list[str] | None,
    labels: Path | None,
    images: Path | None,
    split: str | None,
    rename: list[str] | None,
) -> Photos:
    """The photos to learn from. Raises OptionError unless the options name either folders or a file of labels."""
    from ..labels import Photos
    from ..workshop.evaluation.labels_csv import parse_renames, read_photos

    folders = (positives, negatives)
    table = (labels, images)
    if labels and images and not any(folders):
        return read_photos(labels, images, label or None, split, parse_renames(rename or []))
    if positives and negatives and label and len(label) == 1 and not any((*table, split, rename)):
        return Photos.from_folders(label[0], positives, negatives)
    names = ("--label", "--positives", "--negatives", "--labels", "--images")
    present = [name for name, value in zip(names, (label, *folders, *table), strict=True) if value]
    raise errors.OptionError(
        "--positives",
        "one --label with --positives and --negatives, or --labels with --images",
        ", ".join(present) or "neither",
        "Negatives are any photos that do not show the label, such as 50 of the same rooms.",
    )


def _print(taught: Teaching, out: Path, report: Path) -> None:
    from .screen import decimal, interval, note, print_facts

    for label in taught.labels:
        print_facts(
            f"{label.label}: {label.positives} photos show it, {label.negatives} do not",
            [
                ("text prior", "used" if label.words else "not used"),
                ("threshold", f"{label.threshold:.3f}, precise {label.precise_threshold:.3f}"),
                ("precision", decimal(label.precision) + interval(label.precision_interval)),
                ("recall", decimal(label.recall) + interval(label.recall_interval)),
                ("where", f"{label.prevalence:.1f} of 100 photos show it"),
                ("average precision", decimal(label.average_precision)),
                (
                    "of its words alone",
                    decimal(label.words_average_precision) if label.words else None,
                ),
            ],
        )
        note(f"{label.label}: {label.advice}")
    print(f"{report}\n{out}")
