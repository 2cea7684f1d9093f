"""``pvlr teach``: labels for an open plan from a few photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from .. import errors
from . import option_groups, options
from .correction import FalseEvent, as_values, print_correction

if TYPE_CHECKING:
    from ..bundle.label_bank import LabelBank
    from ..labels import Photos, Teaching


@dataclass(frozen=True)
class Examples:
    """The photos to learn from: folders for one label, or a file of labels for several."""

    label: Annotated[
        list[str] | None,
        Option(
            "--label",
            "-l",
            metavar="LABEL",
            help="The label to teach; with --labels, the labels to teach (default: all).",
        ),
    ] = None
    positives: Annotated[
        list[str] | None,
        Option(metavar="DIR", help="Photos that show the label: a folder or files; repeatable."),
    ] = None
    negatives: Annotated[
        list[str] | None,
        Option(metavar="DIR", help="Photos that do not show the label; repeatable."),
    ] = None
    labels: Annotated[
        Path | None,
        Option(metavar="CSV", help="Labels of each image, to teach several labels."),
    ] = None
    images: Annotated[Path | None, Option(metavar="DIR", help="Folder of the images.")] = None
    split: options.Split = None
    rename: Annotated[
        list[str] | None,
        Option("--map", metavar="JSON|A=B", help="Rename columns of the CSV; repeatable."),
    ] = None

    def named(self) -> list[str]:
        """The options that name a label or photos."""
        values = {
            "--label": self.label,
            "--positives": self.positives,
            "--negatives": self.negatives,
            "--labels": self.labels,
            "--images": self.images,
        }
        return [name for name, value in values.items() if value]

    def read(self) -> Photos:
        """The photos. Raises OptionError unless the options name either folders or a file of labels."""
        from ..labels import Photos
        from ..workshop.evaluation.labels_csv import parse_renames, read_photos

        if self.labels and self.images and not (self.positives or self.negatives):
            renames = parse_renames(self.rename or [])
            return read_photos(self.labels, self.images, self.label or None, self.split, renames)
        of_a_table = (self.labels, self.images, self.split, self.rename)
        label = self.label or []
        if len(label) == 1 and self.positives and self.negatives and not any(of_a_table):
            return Photos.from_folders(label[0], self.positives, self.negatives)
        raise errors.OptionError(
            "--positives",
            "one --label with --positives and --negatives, or --labels with --images",
            ", ".join(self.named()) or "neither",
            "Negatives are any photos that do not show the label, such as 50 of the same rooms.",
        )


def teach(
    plan: options.Plan,
    out: Path = Option(..., "--out", "-o", metavar="FILE", help="The label bank to write."),
    *,
    examples: Examples,
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
    false_event: FalseEvent,
    report: Path | None = Option(
        None,
        metavar="HTML",
        help="The report to write.",
        show_default="next to --out",
    ),
    as_json: options.Json = False,
    machine: option_groups.Machine,
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

    --not-again changes the label of a false event that a site remembers, and shows
    which other events of the past day would not have been reported either.

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
    pvlr teach engine.plan --not-again 3f2a91c0 --memory memory/ \\
      --bank bank.safetensors -o bank.safetensors
    pvlr teach engine.plan --not-again 3f2a91c0 --memory memory/ --undo \\
      --bank bank.safetensors -o bank.safetensors
    """
    from .._util.files import write_files
    from ..bundle.label_bank import LabelBank
    from ..labels import teach as learn
    from ..labels.page import page
    from .screen import Screen, print_json, report_failed

    _check_out(out, bank)
    bank_before = LabelBank.load(bank) if bank else None
    report = report or out.with_suffix(".html")
    page_before = _page_before(report, bank)
    if false_event.is_named():
        _check_alone(forget, examples)
        made = false_event.write_correction(plan, bank_before, out)
        if as_json:
            print_json({"bank": str(out), **(as_values(made) if made else {})})
            return
        if made:
            print_correction(made)
        print(out)
        return
    if forget:
        left = _without(forget, bank_before, examples)
        pages = {report: page(left, earlier=page_before).encode()} if page_before else {}
        write_files({**pages, out: left.to_bytes()})
        print(out)
        return
    photos = examples.read()
    with Screen(len(photos.files), "Reading") as screen:
        taught = learn(
            plan,
            photos,
            bank=bank_before,
            progress=screen.step,
            words=not no_words,
            replace=replace,
            prevalence=prevalence,
            **machine.arguments,
        )
    html = page(taught.bank, taught.labels, taught.failed, earlier=page_before)
    write_files({report: html.encode(), out: taught.bank.to_bytes()})
    if as_json:
        print_json(taught.to_dict())
    else:
        _print(taught, out, report)
    if report_failed(taught.failed, len(photos.files) + len(photos.failed)):
        raise typer.Exit(2)


def _check_out(out: Path, bank: Path | None) -> None:
    """A label bank is replaced only by one that extends it. Raises OptionError."""
    if out.exists() and not (bank and bank.exists() and out.samefile(bank)):
        raise errors.OptionError(
            "--out",
            "a new file",
            f"{out}, which exists",
            f"To change it, add --bank {out}; to start again, remove it.",
        )


def _check_alone(forget: list[str] | None, examples: Examples) -> None:
    """A correction is the only change. Raises OptionError."""
    if forget or examples.named():
        raise errors.OptionError(
            "--not-again",
            "nothing to teach or to forget",
            ", ".join([*(["--forget"] if forget else []), *examples.named()]),
            "Correct an event first, then teach others.",
        )


def _page_before(report: Path, bank: Path | None) -> str:
    """The report about the labels that the bank has been taught so far, or an empty text."""
    if bank is None:
        return ""
    for path in (report, bank.with_suffix(".html")):
        if path.is_file():
            return path.read_text("utf-8", "replace")
    return ""


def _without(labels: list[str], bank: LabelBank | None, examples: Examples) -> LabelBank:
    """The bank without the teaching of these labels. Raises OptionError without a bank, or with labels to teach."""
    from ..labels import forget

    if bank is None or examples.named():
        raise errors.OptionError(
            "--forget",
            "--bank, and nothing to teach",
            "no --bank" if bank is None else "labels to teach",
            "Forget labels first, then teach others.",
        )
    return forget(bank, labels)


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
                ("hurts most", label.harmful and f"{label.harmful}: check what it shows"),
            ],
        )
        note(f"{label.label}: {label.advice}")
    print(f"{report}\n{out}")
