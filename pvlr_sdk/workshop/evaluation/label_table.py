"""Reads a CSV of labels: one column per label, or a column of tags."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ... import errors
from ..._util.validation import few
from .annotations import INVALID, Annotations, annotations_of_tags, no_duplicates, wrong

_FILE = ("file", "filename", "file_name", "image", "path", "filepath", "image_path")
_SPLIT = ("split", "subset")
_SPACES = r"\s+"
_NOWHERE = "$^"
_TAGS = {
    **dict.fromkeys(("tags", "labels", "keywords", "classes", "categories"), _SPACES),
    **dict.fromkeys(("tag", "label", "keyword", "class", "category"), _NOWHERE),
}
"""Names of a column of tags, and the pattern between two tags: a single tag may contain spaces."""


def _spellings(*values: str) -> frozenset[str]:
    return frozenset(form for value in values for form in (value, value.upper(), value.title()))


_PRESENT = _spellings("1", "1.0", "true", "yes", "y", "x")
_ABSENT = _spellings("-1", "-1.0", "false", "no", "n")
_ZERO = frozenset({"0", "0.0"})
_VALUES = _PRESENT | _ABSENT | _ZERO | {"", "?"}


def read_table(path: Path, text: str) -> Annotations:
    """Raises LabelsFileError for a file without images or without labels; a broken row is an error of the result."""
    table = _Table.parse(path, text)
    tags = table.column_of_tags()
    return table.columns_as_labels() if tags is None else table.tags(tags)


@dataclass(frozen=True)
class _Table:
    """A CSV, with the roles of its columns.

    Attributes:
        rows: the cells, each row with its line number.
        file, split: the columns of the file and of the split (None: without splits).
        others: all other columns.
    """

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]
    file: int
    split: int | None
    others: list[int]

    @classmethod
    def parse(cls, path: Path, text: str) -> _Table:
        header, rows = read_cells(path, text)
        names = [cell.lower() for cell in header]
        file = next((i for i, name in enumerate(names) if name in _FILE), None)
        split = next((i for i, name in enumerate(names) if name in _SPLIT and i != file), None)
        others = [i for i in range(len(header)) if i not in (file, split)]
        if file is None or not others:
            got = f"the columns {few(header)}" if header else "an empty file"
            hint = "Start the file with a line such as file,split,dog,cat or file,tags."
            raise wrong(path, "a header with 'file' and one column per label", got, hint)
        labels = (header[i] for i in others)
        no_duplicates(path, labels, "each column once", "Rename or remove the second one.")
        return cls(path, header, rows, file, split, others)

    def column_of_tags(self) -> int | None:
        """The column that is named like one of tags, and has mostly something else than the values of a label."""
        for column in self.others:
            cells = [row[column] for _, row in self.rows if len(row) > column and row[column]]
            values = sum(cell in _VALUES for cell in cells)
            if self.header[column].lower() in _TAGS and values < len(cells) / 2:
                return column
        return None

    def columns_as_labels(self) -> Annotations:
        """One row per image, one column per label."""
        rows, broken = self._complete()
        cells = [[row[column] for column in self.others] for _, row in rows]
        values = _meaning({cell for row in cells for cell in row})
        targets = np.array([[values.get(cell, INVALID) for cell in row] for row in cells], np.int8)
        targets = targets.reshape(len(rows), len(self.others))
        places = [(int(row), int(column)) for row, column in np.argwhere(targets == INVALID)]
        return Annotations(
            [self.header[column] for column in self.others],
            [row[self.file] for _, row in rows],
            targets,
            None if self.split is None else [row[self.split] for _, row in rows],
            [line for line, _ in rows],
            {(row, column): cells[row][column] for row, column in places},
            broken,
        )

    def tags(self, column: int) -> Annotations:
        """A list of tags: one row per image, or one per tag."""
        table = self
        if column == len(self.header) - 1:  # unquoted tags with the separator of the table
            rows = [(line, [*row[:column], ",".join(row[column:])]) for line, row in self.rows]
            table = replace(self, rows=rows)
        complete, broken = table._complete()
        pattern = table._separator(column)
        tags: dict[str, dict[str, None]] = {}
        splits: dict[str, str] = {}
        for _, row in complete:
            names = (tag.strip() for tag in re.split(pattern, row[column]))
            tags.setdefault(row[self.file], {}).update(dict.fromkeys(filter(None, names)))
            splits[row[self.file]] = "" if self.split is None else row[self.split]
        spaced = ""
        if pattern == _SPACES:
            spaced = next((row[column] for _, row in complete if " " in row[column]), "")
        annotations = annotations_of_tags(
            self.path, tags, None if self.split is None else list(splits.values())
        )
        return replace(annotations, broken=broken, spaced=spaced)

    def _separator(self, column: int) -> str:
        """The pattern between two tags."""
        cells = [cell for _, row in self.rows for cell in row[column:]]
        marks = "".join(mark for mark in ";|," if any(mark in cell for cell in cells))
        return f"[{marks}]" if marks else _TAGS[self.header[column].lower()]

    def _complete(self) -> tuple[list[tuple[int, list[str]]], list[errors.LabelsFileError]]:
        """The rows with all cells and a file name, and an error for each other row."""
        rows: list[tuple[int, list[str]]] = []
        broken: list[errors.LabelsFileError] = []
        for line, row in self.rows:
            if len(row) == len(self.header) and row[self.file]:
                rows.append((line, row))
                continue
            nameless = row[self.file : self.file + 1] == [""]
            got = f"no file name in line {line}" if nameless else f"{len(row)} cells in line {line}"
            expected = f"{len(self.header)} cells in each row"
            broken.append(wrong(self.path, expected, got, "Correct that line."))
        return rows, broken


def _meaning(cells: set[str]) -> dict[str, int]:
    """The target of each value, in a file with these cells.

    0 means unknown in a file that has -1, and an empty cell in one that has either: else both mean absent, as in a
    table of marks: 1, x or nothing.
    """
    zero = 0 if cells & {"-1", "-1.0"} else -1
    empty = 0 if cells & (_ZERO | _ABSENT) else -1
    return {
        "": empty,
        "?": 0,
        **dict.fromkeys(_ZERO, zero),
        **dict.fromkeys(_PRESENT, 1),
        **dict.fromkeys(_ABSENT, -1),
    }


def read_cells(path: Path, text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with its line number; the separator is the one that gives most columns, with a file."""
    read = partial(csv.reader, text.splitlines(keepends=True), strict=True)
    try:
        headers = {
            mark: [cell.strip().lower() for cell in next(read(delimiter=mark), [])]
            for mark in ",;\t|"
        }
        mark = max(
            headers, key=lambda mark: (not set(_FILE).isdisjoint(headers[mark]), len(headers[mark]))
        )
        reader = read(delimiter=mark)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise wrong(
            path, "a CSV file", f"invalid CSV ({error})", "Save it as CSV with commas."
        ) from None
    return (rows[0][1], rows[1:]) if rows else ([], [])
