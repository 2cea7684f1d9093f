"""The labels of each image, for evaluation and training: a labels CSV, or another format of :mod:`.label_formats`.

A labels CSV has one row per image and the columns ``file``, ``split`` (optional) and one per label::

    file,split,dog,cat
    holiday/1.jpg,train,1,-1
    holiday/2.jpg,val,,1

A cell is 1 (present), -1 (absent), ``?`` or empty (unknown). In a file with any -1, 0 means "not counted" (VOC's
difficult objects); in a file with only 0 and 1, it means absent. In a file without any absence, empty means absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ..._util.plain_json import read_json
from ..._util.validation import did_you_mean, few
from ...frames.find import check_folder
from ...labels import Photos
from .annotations import INVALID, LIMITS, Annotations, no_duplicates, read_text, wrong
from .label_formats import read_annotations


@dataclass(frozen=True)
class LabelTable:
    """The images of one split and their targets.

    Attributes:
        files: N paths, relative to the folder of the images.
        targets: (N, C) int8, columns in the order of the model's labels: 1 present, -1 absent, 0 unknown.
        missing: labels of the model without a column (their targets are all 0).
        extra: columns without a label in the model (ignored).
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
    """Read the images of one split and their targets, in the order of the labels of the model.

    Args:
        path: a labels CSV, or a file of another format.
        split: name of the split; None for all rows.
        names: labels of the model; None for the columns of the file (see :func:`read_columns`).
        rename: maps columns of the file to labels of the model.

    Raises:
        LabelsFileError: the file cannot be read, has no such split, an invalid value, a duplicate row or column, or no
            column that is a label of the model.
        UnknownLabelError: ``rename`` names a column or a label that does not exist.
    """
    path = Path(path)
    read = read_annotations(path)
    if read.broken:
        raise read.broken[0]
    names = list(read.labels) if names is None else list(names)
    positions = match_columns(path, read.labels, names, rename or {})
    extra = [column for column in read.labels if column not in positions]
    chosen = _rows_of_split(path, read, split)
    column_of = {label: column for column, label in enumerate(read.labels)}
    sources = [column_of[column] for column in positions]
    targets = np.zeros((len(chosen), len(names)), dtype=np.int8)
    targets[:, list(positions.values())] = read.targets[chosen][:, sources]
    for row in chosen if (targets == INVALID).any() else ():
        for column in sources:
            if (row, column) in read.invalid:
                got = f"{read.invalid[row, column]!r} in line {read.lines[row]}, column {read.labels[column]!r}"
                raise wrong(path, "1, 0, -1, ? or an empty cell", got, "Correct that cell.")
    labels_found = {names[label] for label in positions.values()}
    files = [read.files[row] for row in chosen]
    no_duplicates(
        path, files, "each image once", "Remove the second row, or give the rows different splits."
    )
    return LabelTable(files, targets, [name for name in names if name not in labels_found], extra)


def read_columns(path: str | Path) -> list[str]:
    """The label columns of a labels file, in order: in a CSV all except ``file`` and ``split``.

    Raises LabelsFileError like :func:`read_labels`.
    """
    return list(read_annotations(path).labels)


def read_rename(path: str | Path) -> dict[str, str]:
    """Read a label map: a JSON object from columns of a labels file to labels of the model.

    Raises LabelsFileError if the file cannot be read or has other contents.
    """
    path = Path(path)
    text = read_text(path)
    hint = 'Write it as {"sofa": "couch"}, from column of the labels file to label of the model.'
    try:
        renames = read_json(text, LIMITS, printable=False)
    except ValueError as error:
        raise wrong(path, "a JSON object", f"invalid JSON ({error})", hint) from None
    if not isinstance(renames, dict) or not all(
        isinstance(label, str) for label in renames.values()
    ):
        raise wrong(path, "a JSON object of strings", "something else", hint)
    return renames


def parse_renames(items: Sequence[str]) -> dict[str, str]:
    """Combine items into a label map: the path of a JSON file, or ``column=label``; later items win.

    Raises LabelsFileError like :func:`read_rename`.
    """
    renames: dict[str, str] = {}
    for item in items:
        column, separator, label = item.partition("=")
        if not separator or Path(item).is_file():
            renames |= read_rename(item)
        else:
            renames[column.strip()] = label.strip()
    return renames


def match_columns(
    path: Path, columns: Sequence[str], names: Sequence[str], rename: Mapping[str, str]
) -> dict[str, int]:
    """Map each column (or class of a data set) that is a label of the model to the position of that label.

    Args:
        path: the file to name in errors.

    Raises:
        LabelsFileError: no column is a label of the model, or two columns are the same label.
        UnknownLabelError: ``rename`` names a column or a label that does not exist.
    """
    for column, label in rename.items():
        _must_be_known(f"label map: column {column!r}", column, columns, f"a column of {path}")
        _must_be_known(f"label map: label {label!r}", label, names, "a label of the model")
    label_of = {column: rename.get(column, column) for column in columns}
    no_duplicates(
        path, list(label_of.values()), "one column for each label", "Correct the label map."
    )
    position = {name: index for index, name in enumerate(names)}
    matched = {column: position[label] for column, label in label_of.items() if label in position}
    if not matched:
        raise wrong(
            path,
            "at least one column that is a label of the model",
            f"the columns {few(columns)}",
            _MAP,
        )
    return matched


_MAP = "Rename the columns with a label map (--map FILE.json), or check that the file belongs to this model."


def _must_be_known(argument: str, name: str, known: Sequence[str], expected: str) -> None:
    if name not in known:
        raise errors.UnknownLabelError(
            argument,
            expected,
            "an unknown name",
            did_you_mean(name, known) or f"Known names are {few(known)}.",
        )


def _rows_of_split(path: Path, read: Annotations, split: str | None) -> list[int]:
    rows = list(range(len(read.files)))
    splits = []
    if split is not None:
        if read.splits is None:
            raise wrong(
                path,
                "a column 'split'",
                f"the labels {few(read.labels)}",
                "Omit the split to use all rows.",
            )
        rows = [row for row in rows if read.splits[row] == split]
        splits = sorted(set(read.splits))
    if not rows:
        got = f"none (the splits are {few(splits)})" if splits else "none"
        raise wrong(
            path,
            "rows" + (f" of the split {split!r}" if split else ""),
            got,
            "Check the name of the split.",
        )
    return rows


def read_photos(
    labels: str | Path,
    images: str | Path,
    names: Sequence[str] | None = None,
    split: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> Photos:
    """Photos of several labels for :func:`pvlr_sdk.labels.teach`; the labels may share photos.

    Args:
        labels: a file of labels, in any format of :func:`read_labels`.
        images: the folder that its file names are relative to.
        names: the labels to teach; None: all columns.
        split, rename: as for ``read_labels``.

    Raises:
        ImageNotFoundError: ``images`` is not a folder.
        LabelsFileError: the file is invalid.
        OptionError: it has no column for one of ``names``.
    """
    check_folder(images, "--images", "the folder of the images")
    columns = [(rename or {}).get(column, column) for column in read_columns(labels)]
    chosen = columns if names is None else list(names)
    if unknown := next((name for name in chosen if name not in columns), None):
        raise errors.OptionError(
            "label",
            f"a column of {labels}",
            repr(unknown),
            did_you_mean(unknown, columns, 1) or f"Its columns are {', '.join(columns[:8])}.",
        )
    table = read_labels(labels, split, chosen, rename)
    return Photos(chosen, [Path(images, file) for file in table.files], table.targets)
