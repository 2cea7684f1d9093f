"""Suspect labels as a CSV to answer and a page to look through, and labels with the answers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..._util.escape import csv_row
from ..._util.validation import few
from ...labels.page import gallery
from .annotations import read_text, wrong
from .label_check import Suspect
from .label_formats import read_annotations
from .label_table import read_cells
from .labels_csv import read_labels

_ANSWERS = {"1": 1, "-1": -1, "?": 0, "": 0}
_CELLS = {1: 1, -1: -1, 0: "?"}
_LABELLED = {1: "present", -1: "absent"}
_MOST = 300
"""Suspects of a page."""


def suspects_csv(suspects: Iterable[Suspect]) -> str:
    """A line per suspect label, whose ``value`` is ?: unknown, unless someone changes it."""
    lines = [csv_row("file", "label", "value", "labelled", "score", "twin")]
    lines += (csv_row(s.file, s.label, "?", s.labelled, s.score, s.twin) for s in suspects)
    return "\n".join([*lines, ""])


def page(suspects: Sequence[Suspect], images: Path) -> str:
    """A page without scripts: the pictures of the first 300 suspects, each followed by its twin."""
    pictures = []
    for suspect in suspects[:_MOST]:
        score = "-" if suspect.score is None else f"{suspect.score:.2f}"
        text = f"{suspect.label} is labelled {_LABELLED[suspect.labelled]}, score {score}"
        pictures.append((images / suspect.file, f"{text}: {suspect.file}"))
        if suspect.twin:
            text = f"{suspect.label} is labelled {_LABELLED[-suspect.labelled]} in this twin"
            pictures.append((images / suspect.twin, f"{text}: {suspect.twin}"))
    return gallery(f"{min(len(suspects), _MOST)} of {len(suspects)} suspect labels", pictures)


def corrected(labels: Path, answers: Path) -> str:
    """A labels file with the answers of a CSV of suspects, as a labels CSV; unknown cells stay unknown.

    Raises LabelsFileError if one of the files is invalid, or the answers name a file or label that the labels lack.
    """
    read = read_annotations(labels)
    if read.broken or read.invalid:
        read_labels(labels)  # raises the error
    header, lines = read_cells(answers, read_text(answers))
    if not {"file", "label", "value"} <= set(header):
        expected = "the columns file, label and value"
        raise wrong(answers, expected, few(header) or "none", "Write it with pvlr check-labels.")
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(read.files):
        rows.setdefault(name, []).append(row)
    rows = {f"'{name}": places for name, places in rows.items()} | rows  # as csv_row writes some
    column_of = {f"'{name}": at for at, name in enumerate(read.labels)}
    column_of |= {name: at for at, name in enumerate(read.labels)}
    for number, cells in lines:
        answer = dict(zip(header, cells, strict=False))
        file, label, value = (answer.get(name, "") for name in ("file", "label", "value"))
        if file not in rows or label not in column_of or value not in _ANSWERS:
            got = f"{file!r}, {label!r}, {value!r} in line {number}"
            expected = f"a file and a label of {labels}, and 1, -1 or ?"
            raise wrong(answers, expected, got, "Correct or delete that line.")
        read.targets[rows[file], column_of[label]] = _ANSWERS[value]
    columns = {"file": read.files} | ({"split": read.splits} if read.splits else {})
    table = csv.writer(text := io.StringIO(), lineterminator="\n")
    table.writerow([*columns, *read.labels])
    for *places, targets in zip(*columns.values(), read.targets.tolist(), strict=True):
        table.writerow([*places, *map(_CELLS.get, targets)])
    return text.getvalue()
