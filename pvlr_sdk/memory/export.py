"""The answers of a review as examples to teach, train and evaluate with."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .. import errors
from .._util.escape import csv_row, file_name
from .._util.files import write_folder
from .reader import Reader
from .search import chosen


def export_answers(reader: Reader, folder: Path, label: str | None = None, camera: str | None = None) -> int:
    """Write the answers on a label and a camera (None: all) to a new folder, all or nothing; unclear ones are left out.

    ``yes/LABEL`` and ``no/LABEL`` have the pictures, of at most 320 pixels, ``labels.csv`` a row for each of them, with
    ``?`` for what was not asked, and ``answers.jsonl`` a line as of ``pvlr tag --json``. Returns their number.

    Raises:
        OptionError: there are no answers, or the folder exists.
        OutputError: no space, no permission.
    """
    answers, only = reader.answers(), chosen(camera, label, None, None)
    files, found = dict[str, bytes](), list[tuple[str, str, str]]()
    for row in reader.rows(f"{only[0]} AND kind = 'event'", only[1]):
        assert row.began is not None, "a row of an event"
        name, answer, picture = row.began.label, answers.get(row.began.id, ("unclear",))[0], reader.picture(row.id)
        if answer != "unclear" and picture:
            found.append((f"{answer}/{file_name(name)}/{file_name(row.began.id)}.jpg", name, answer))
            files[found[-1][0]] = picture
    if os.path.lexists(folder) or not found:
        got = f"{folder}, which exists" if found else "no answered events"
        hint = "Choose another folder." if found else "Answer events first, see pvlr precision --help."
        raise errors.OptionError("--export", expected="a new folder, and answers", got=got, hint=hint)
    labels, cells = sorted({name for _, name, _ in found}), {"yes": 1, "no": -1}
    table = [csv_row("file", *labels)]
    table += [csv_row(file, *(cells[answer] if one == name else "?" for one in labels)) for file, name, answer in found]
    tags = [{"source": str(folder / file), "tags": [{"label": name, "score": 1.0}] if answer == "yes" else []}
            for file, name, answer in found]  # fmt: skip
    files["answers.jsonl"] = "\n".join(map(json.dumps, tags)).encode()
    files["labels.csv"] = "\n".join(table).encode()
    write_folder(folder, files)
    return len(found)
