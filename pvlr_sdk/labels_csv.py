"""Reads ``labels.csv``: which labels are in which photo. Evaluation and training share this reader.

The file has one row a photo and the columns ``file``, ``split`` (optional) and one a label::

    file,split,dog,cat
    holiday/1.jpg,train,1,-1
    holiday/2.jpg,val,,1

A cell is 1 (present), -1 (absent) or empty (unknown). What 0 means depends on the file: beside any -1 it means "don't
count this one" (VOC's difficult objects), in a file that has only 0 and 1 it means absent.
"""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import errors

_NOT_LABELS = ("file", "split")
_VALUES = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}  # pandas writes 1.0 where cells are empty


@dataclass(frozen=True)
class LabelTable:
    """The photos of one split and what is in them.

    Attributes:
        files: N paths, relative to the folder of the photos.
        targets: (N, C) int8, columns in the order of the model's labels: 1 present, -1 absent, 0 unknown.
        missing: labels of the model that the file has no column for (their targets are all 0).
        extra: columns of the file that are no label of the model (left out).
    """

    files: list[str]
    targets: NDArray[np.int8]
    missing: list[str]
    extra: list[str]


def read_labels(
    path: str | Path,
    split: str | None = None,
    names: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
) -> LabelTable:
    """The photos of one split with their targets, in the order of the model's labels.

    Args:
        path: the CSV file.
        split: which rows to take; None takes all.
        names: the model's labels; None takes the file's own columns (see :func:`read_columns`).
        rename: from the file's column names to the model's label names.

    Raises:
        LabelsFileError: the file can't be read, has no such split, a wrong value, a double row or column, or not one
            column that is a label of the model.
        UnknownLabelError: ``rename`` names a column or a label that doesn't exist.
    """
    path = Path(path)
    header, rows = _read(path)
    columns = [column for column in header if column not in _NOT_LABELS]
    names = list(columns) if names is None else list(names)
    positions = match_columns(path, columns, names, rename or {})
    extra = [column for column in columns if column not in positions]

    zero = 0 if any(cell in ("-1", "-1.0") for _, row in rows for cell in row) else -1
    values = {"": 0, **_VALUES, "0": zero, "0.0": zero}
    sources = [(header.index(column), label) for column, label in positions.items()]
    chosen = _rows_of_split(path, header, rows, split)

    targets = np.zeros((len(chosen), len(names)), dtype=np.int8)
    for target, (line, row) in zip(targets, chosen, strict=True):
        for source, label in sources:
            value = values.get(row[source])
            if value is None:
                got = f"{row[source]!r} in line {line}, column {header[source]!r}"
                raise _wrong(path, "1, 0, -1 or an empty cell", got, "Correct that cell.")
            target[label] = value
    found = {names[label] for label in positions.values()}
    files = [row[header.index("file")] for _, row in chosen]
    _no_doubles(path, files, "photos named once", "Remove the second row, or give the rows different splits.")
    return LabelTable(files, targets, [name for name in names if name not in found], extra)


def read_columns(path: str | Path) -> list[str]:
    """The label columns of a labels file, in its order: everything but ``file`` and ``split``.

    Raises LabelsFileError as :func:`read_labels`.
    """
    header, _ = _read(Path(path))
    return [column for column in header if column not in _NOT_LABELS]


def read_rename(path: str | Path) -> dict[str, str]:
    """A label map: a JSON object from the names in a labels file to the names of the model's labels.

    Raises LabelsFileError if the file can't be read or is anything else.
    """
    path = Path(path)
    hint = 'Write it like {"tvmonitor": "tv", "sofa": "couch"}: column of the labels file, then label of the model.'
    try:
        renames = json.loads(_text(path), object_pairs_hook=lambda pairs: pairs)
    except json.JSONDecodeError as error:
        raise _wrong(path, "a JSON object", f"text that is no JSON ({error})", hint) from None
    if not _is_map(renames):
        raise _wrong(path, "a JSON object of strings", "something else", hint)
    _no_doubles(path, [column for column, _ in renames], "each column once", hint)
    return dict(renames)


def parse_renames(items: Sequence[str]) -> dict[str, str]:
    """A label map put together from items: the path of a JSON file, or ``column=label``; later ones win.

    ``name=FILE.json`` is taken as the file, so that a map can be called after its data set.

    Raises LabelsFileError as :func:`read_rename`.
    """
    renames: dict[str, str] = {}
    for item in items:
        column, separator, label = item.partition("=")
        if not separator or Path(item).is_file():
            renames |= read_rename(item)
        elif label.endswith(".json"):
            renames |= read_rename(label)
        else:
            renames[column.strip()] = label.strip()
    return renames


def match_columns(
    path: Path, columns: Sequence[str], names: Sequence[str], rename: Mapping[str, str]
) -> dict[str, int]:
    """Which label of the model each column (or class of a data set) is: column -> position; others are left out.

    Args:
        path: the file that errors name.

    Raises:
        LabelsFileError: not one column is a label of the model, or two are the same one.
        UnknownLabelError: ``rename`` names a column or a label that doesn't exist.
    """
    for column, label in rename.items():
        _must_be_known(f"label map: column {column!r}", column, columns, f"a column of {path}")
        _must_be_known(f"label map: label {label!r}", label, names, "a label of the model")
    label_of = {column: rename.get(column, column) for column in columns}
    _no_doubles(path, list(label_of.values()), "one column for each label", "Correct the label map.")
    position = {name: index for index, name in enumerate(names)}
    matched = {column: position[label] for column, label in label_of.items() if label in position}
    if not matched:
        raise _wrong(path, "at least one column that is a label of the model", f"the columns {_few(columns)}", _MAP)
    return matched


_MAP = "Rename the columns with a label map (--map FILE.json), or check that the file belongs to this model."


def _is_map(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, tuple) and all(isinstance(name, str) for name in pair) for pair in value
    )


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with its line number; cells are stripped and rows have the header's length."""
    try:
        reader = csv.reader(_text(path).splitlines(keepends=True), strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise _wrong(path, "a CSV file", f"text that is none ({error})", "Save it as CSV with commas.") from None
    header = lines[0][1] if lines else []
    if "file" not in header or not set(header) - set(_NOT_LABELS):
        got = f"the columns {_few(header)}" if header else "an empty file"
        raise _wrong(
            path, "a header with 'file' and one column a label", got, "Write a first line like: file,split,dog,cat"
        )
    _no_doubles(path, header, "each column once", "Rename or remove the second one.")
    for line, row in lines[1:]:
        if len(row) != len(header):
            got = f"{len(row)} in line {line}"
            raise _wrong(path, f"{len(header)} cells in each row", got, "Correct that line.")
    return header, lines[1:]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(path, "a text file in UTF-8", f"other bytes ({error.reason})", "Save it in UTF-8.") from None
    except OSError as error:
        raise _wrong(path, "a readable file", error.strerror or str(error), "Check the path.") from None


def _must_be_known(argument: str, name: str, known: Sequence[str], expected: str) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"There are {_few(known)}."
        raise errors.UnknownLabelError(argument, expected=expected, got="an unknown name", hint=hint)


def _rows_of_split(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]], split: str | None
) -> list[tuple[int, list[str]]]:
    if split is None:
        chosen, splits = rows, []
    elif "split" not in header:
        raise _wrong(path, "a column 'split'", f"the columns {_few(header)}", "Leave the split out to take all rows.")
    else:
        column = header.index("split")
        chosen = [(line, row) for line, row in rows if row[column] == split]
        splits = sorted({row[column] for _, row in rows})
    if not chosen:
        got = f"none (the splits are {_few(splits)})" if splits else "none"
        raise _wrong(path, "rows" + (f" of the split {split!r}" if split else ""), got, "Check the split's name.")
    return chosen


def _no_doubles(path: Path, values: Iterable[str], expected: str, hint: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise _wrong(path, expected, f"{value!r} twice", hint)
        seen.add(value)


def _few(values: Sequence[str]) -> str:
    shown = ", ".join(map(repr, values[:8]))
    return shown + (f" and {len(values) - 8} more" if len(values) > 8 else "")


def _wrong(path: Path, expected: str, got: str, hint: str) -> errors.LabelsFileError:
    return errors.LabelsFileError(str(path), expected=expected, got=got, hint=hint)
