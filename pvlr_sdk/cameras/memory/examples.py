"""Examples to teach, train and evaluate with: the sampled frames that teach most, and the answers of a review."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from ... import errors
from ..._util.escape import csv_row, file_name
from ..._util.files import write_folder
from ...labels.mining import margins_of, select
from .drift import same_settings
from .reader import Reader, Row
from .recording import Floats
from .search import chosen

_CHOSEN_FROM = 2000
"""The newest sampled frames: their features are read, and compared with each other."""


def to_label(reader: Reader, limit: int = 30) -> list[tuple[Row, str]]:
    """The sampled frames without an answer that teach most (:func:`.mining.select`), each with the label to ask for.

    They are of the newest plan, label bank and settings, whatever the thresholds and the choice of labels.
    """
    only = "kind NOT IN ('event', 'health') AND id NOT IN (SELECT id FROM answers)"
    rows = reader.rows(
        f"id IN (SELECT id FROM moments WHERE {only} ORDER BY id DESC LIMIT {_CHOSEN_FROM})"
    )
    # the same object for the same context
    contexts = {id(row.context): row.context for row in rows}
    same = {
        key
        for key, context in contexts.items()
        if same_settings(context) == same_settings(rows[-1].context)
    }
    rows = [row for row in rows if id(row.context) in same and row.context.rules.watched.any()]
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
    answers = {row[0]: row[1:] for row in reader.query("SELECT id, label, answer FROM answers")}
    files = dict[str, bytes]()
    pictures = list[tuple[str, str, str]]()
    only = chosen(camera, None, None, None)
    for row in reader.rows(*only):
        name, answer = answers.get(row.id, ("", "unclear"))
        if answer != "unclear" and label in (None, name) and (picture := reader.picture(row.id)):
            file = f"{answer}/{file_name(name)}/{file_name(row.event or f'frame-{row.id}')}.jpg"
            pictures.append((file, name, answer))
            files[file] = picture
    if os.path.lexists(folder) or not pictures:
        raise errors.OptionError(
            "--export",
            "a new folder, and answers",
            f"{folder}, which exists" if pictures else "no answers",
            "Choose another folder."
            if pictures
            else "Answer events first, see pvlr precision --help.",
        )
    labels = sorted({name for _, name, _ in pictures})
    cells = {"yes": 1, "no": -1}
    table = [csv_row("file", *labels)]
    table += [
        csv_row(file, *(cells[answer] if label == name else "?" for label in labels))
        for file, name, answer in pictures
    ]
    tags = [{"source": str(folder / file), "tags": [{"label": name, "score": 1.0}] if answer == "yes" else []}
            for file, name, answer in pictures]  # fmt: skip
    files["answers.jsonl"] = "".join(f"{json.dumps(tag)}\n" for tag in tags).encode()
    files["labels.csv"] = "".join(f"{row}\n" for row in table).encode()
    write_folder(folder, files)
    return len(pictures)
