"""Examples to teach, train and evaluate with: the sampled frames that teach most, and the answers of a review."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ... import errors
from ..._util.escape import csv_row, file_name
from ..._util.files import write_folder
from ...labels.mining import margins_of, select
from .reader import Reader, Row
from .recording import Floats
from .search import chosen

_CHOSEN_FROM = 2000
"""The newest sampled frames: their features are read, and compared with each other."""


def to_label(reader: Reader, limit: int = 30) -> list[tuple[Row, str]]:
    """The sampled frames without an answer that teach most (:func:`.mining.select`), each with the label to ask for.

    They are of the newest plan and label bank. Those that were drawn at random are left to :mod:`.recall`: a choice by
    what they teach would make their answers prove nothing.
    """
    only = "kind NOT IN ('event', 'health', 'random') AND id NOT IN (SELECT id FROM answers)"
    rows = reader.rows(
        f"id IN (SELECT id FROM moments WHERE {only} ORDER BY id DESC LIMIT {_CHOSEN_FROM})"
    )
    if rows:
        newest = rows[-1].context.plan, rows[-1].context.bank
        rows = [row for row in rows if (row.context.plan, row.context.bank) == newest]
    rows = [row for row in rows if row.context.rules.watched.any()]
    if not rows:
        return []
    margins = np.array([_margins(row) for row in rows])
    features = [reader.features.read(row.space or "", row.id) for row in rows]
    matrix = None if any(feature is None for feature in features) else np.array(features)
    return [
        (rows[at], rows[at].context.names[label])
        for at, (label, _) in select(margins, matrix, limit).items()
    ]


def _margins(row: Row) -> Floats:
    """(C,): margins of a sampled frame; minus infinity for labels that are not watched, which nobody is asked for."""
    assert row.logits is not None, "a sampled frame"
    rules = row.context.rules
    return np.where(rules.watched, margins_of(row.logits, rules.upper), -np.inf)


def export_answers(
    reader: Reader, folder: Path, label: str | None = None, camera: str | None = None
) -> int:
    """Write the answers on a label and a camera (None: all) to a new folder, all or nothing; unclear ones are left out.

    ``yes/LABEL`` and ``no/LABEL`` have the pictures, of at most 320 pixels, ``labels.csv`` a row for each of them, with
    ``?`` for what was not asked, and ``answers.jsonl`` a line as of ``pvlr tag --json``. Returns their number.

    Raises:
        OptionError: there are no answers, or the folder exists.
        OutputError: no space, no permission.
    """
    examples = _examples(reader, label, camera)
    if not examples:
        raise errors.OptionError(
            "--export",
            "a new folder, and answers",
            "no answers",
            "Answer events first, see pvlr precision --help.",
        )
    if os.path.lexists(folder):
        raise errors.OptionError(
            "--export",
            "a new folder, and answers",
            f"{folder}, which exists",
            "Choose another folder.",
        )
    files = {example.file: example.picture for example in examples}
    files["answers.jsonl"] = _as_json_lines(examples, folder)
    files["labels.csv"] = _as_table(examples)
    write_folder(folder, files)
    return len(examples)


class _Example(NamedTuple):
    """A picture and the answer, yes or no, whether it shows a label."""

    file: str
    label: str
    answer: str
    picture: bytes


def _examples(reader: Reader, label: str | None, camera: str | None) -> list[_Example]:
    rows = {row.id: row for row in reader.rows(*chosen(camera, None, None, None))}
    examples = []
    for number, name, answer in reader.query(
        "SELECT id, label, answer FROM answers ORDER BY id, label"
    ):
        row = rows.get(number)
        if row is None or answer == "unclear" or label not in (None, name):
            continue
        picture = reader.picture(row.id)
        if picture:
            file = f"{answer}/{file_name(name)}/{file_name(row.event or f'frame-{row.id}')}.jpg"
            examples.append(_Example(file, name, answer, picture))
    return examples


def _as_table(examples: list[_Example]) -> bytes:
    """A row for each picture, and a column for each label."""
    labels = sorted({example.label for example in examples})
    cells = {"yes": 1, "no": -1}
    table = [csv_row("file", *labels)]
    for example in examples:
        cell = cells[example.answer]
        table.append(
            csv_row(example.file, *(cell if label == example.label else "?" for label in labels))
        )
    return "".join(f"{row}\n" for row in table).encode()


def _as_json_lines(examples: list[_Example], folder: Path) -> bytes:
    """A line for each picture, with the label as its tag if the answer is yes."""
    lines = []
    for example in examples:
        tags = [{"label": example.label, "score": 1.0}] if example.answer == "yes" else []
        lines.append(json.dumps({"source": str(folder / example.file), "tags": tags}))
    return "".join(f"{line}\n" for line in lines).encode()
