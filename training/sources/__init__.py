"""Where photos and their labels come from: one module a format, all with the same answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.labels_csv import read_labels, read_rename

from ..config import CocoSource, CsvSource, NusWideSource, SourceConfig, VocSource
from .coco import read_coco
from .nuswide import read_nuswide
from .voc import read_voc

Rows = list[tuple[Path, NDArray[np.int8]]]


def read_source(source: SourceConfig, labels: tuple[str, ...]) -> Rows:
    """The photos of a source with their targets (C,): 1 present, -1 absent, 0 unknown, in the order of ``labels``.

    A label that the source knows nothing of is unknown in all its photos.

    Raises:
        LabelsFileError: a file of the source is missing or wrong, or it has not one of the labels.
        UnknownLabelError: the rename map names a label that doesn't exist.
    """
    rename = read_rename(source.rename) if source.rename else {}
    if isinstance(source, VocSource):
        return read_voc(source, labels, rename)
    if isinstance(source, CocoSource):
        return read_coco(source, labels, rename)
    if isinstance(source, NusWideSource):
        return read_nuswide(source, labels, rename)
    return _read_csv(source, labels, rename)


def _read_csv(source: CsvSource, labels: tuple[str, ...], rename: dict[str, str]) -> Rows:
    rows: Rows = []
    for split in source.splits or (None,):
        table = read_labels(source.labels, split, labels, rename)
        rows += [(source.images / name, target) for name, target in zip(table.files, table.targets, strict=True)]
    return rows
