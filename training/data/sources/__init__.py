"""Data set formats, one module each, and which of their images are held out of training."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk._util.validation import few
from pvlr_sdk.workshop.evaluation.annotations import read_text, wrong
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels, read_rename

from ..config import CsvSource, DataConfig, SourceConfig
from .files import Rows
from .nuswide import read_nuswide
from .voc import read_voc


class Sample(NamedTuple):
    """An image, its targets (C,), and whether it is held out of training."""

    path: Path
    targets: NDArray[np.int8]
    is_held: bool


def read_all(data: DataConfig) -> list[Sample]:
    """The images that a run uses.

    Raises:
        LabelsFileError, UnknownLabelError: as :func:`read_source`, or ``holdout`` is a split that a source lacks.
    """
    parts = [(source, read_source(source, data.labels)) for source in data.sources]
    if isinstance(data.holdout, str):
        images = [row for _, part in parts for row in part]
        rows = _held_out_split(images, read_split(data, data.holdout))
    else:
        rows = _held_out_shares(parts, data.holdout)
    return [row for row in rows if row.is_held or is_used(row.path.name, data.share)]


def _held_out_split(images: Rows, held: Rows) -> list[Sample]:
    """The images without those of a split, then those of the split."""
    paths = {path for path, _ in held}
    training = [Sample(path, target, False) for path, target in images if path not in paths]
    return training + [Sample(path, target, True) for path, target in held]


def _held_out_shares(parts: list[tuple[SourceConfig, Rows]], share: float) -> list[Sample]:
    """The images of all sources; ``share`` is that of sources without one of their own."""
    rows: list[Sample] = []
    for source, part in parts:
        held_share = share if source.holdout is None else source.holdout
        rows += [Sample(path, target, is_held_out(path.name, held_share)) for path, target in part]
    return rows


def read_split(data: DataConfig, split: str) -> Rows:
    """The images of one split of all sources, which need not be a split to train on; errors as :func:`read_all`."""
    rows: Rows = []
    for source in data.sources:
        rows += read_source(source.model_copy(update={"splits": (split,)}), data.labels)
    return rows


def read_source(source: SourceConfig, labels: tuple[str, ...]) -> Rows:
    """The images of a source and their targets (C,) in the order of ``labels``: 1 present, -1 absent, 0 unknown.

    A label that the source does not annotate is unknown in all its images.

    Raises:
        LabelsFileError: a file of the source is missing or invalid, or the source has none of the labels.
        UnknownLabelError: the rename map names a label that does not exist.
    """
    return _READERS[source.kind](
        source, labels, read_rename(source.rename) if source.rename else {}
    )


def _read_csv(source: CsvSource, labels: tuple[str, ...], rename: dict[str, str]) -> Rows:
    rows: Rows = []
    for split in source.splits or (None,):
        table = read_labels(source.labels, split, labels, rename)
        rows += [
            (source.images / name, target)
            for name, target in zip(table.files, table.targets, strict=True)
        ]
    if not source.only and not source.without:
        return rows
    chosen = {source.images / name for name in _chosen(source)}
    if kept := [row for row in rows if row[0] in chosen]:
        return kept
    raise wrong(
        source.labels,
        "rows that only and without leave",
        f"none of {len(rows)}",
        "Compare their values with those of the columns.",
    )


def _chosen(source: CsvSource) -> list[str]:
    """The files of the rows that ``only`` and ``without`` leave."""
    header, *lines = csv.reader(read_text(source.labels).splitlines())
    for column in (*source.only, *source.without):
        if column not in header:
            raise wrong(
                source.labels,
                f"a column {column!r}",
                f"the columns {few(header)}",
                "Correct its name.",
            )
    rows = [dict(zip(header, line, strict=False)) for line in lines]
    return [
        row[header[0]]
        for row in rows
        if all(row.get(column) in values for column, values in source.only.items())
        and not any(row.get(column) in values for column, values in source.without.items())
    ]


_READERS = {"csv": _read_csv, "voc": read_voc, "nuswide": read_nuswide}


def is_held_out(name: str, share: float) -> bool:
    """Whether the image with this file name is in the ``share`` (0..1) that is held out of training.

    A hash of the name decides, so that an image keeps its side when others are added.
    """
    return _permille(name) < share * 1000


def is_used(name: str, share: float) -> bool:
    """Whether the image is in the ``share`` (0..1) of the training images that is used; shares are nested."""
    return _permille("used " + name) < share * 1000


def _permille(text: str) -> int:
    """0 to 999, equal for equal texts."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % 1000
