"""NUS-WIDE and its 81 concepts, from the official image lists and ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pvlr_sdk.workshop.evaluation.annotations import wrong
from pvlr_sdk.workshop.evaluation.labels_csv import match_columns

from ..config import NusWideSource
from .files import Rows, read_lines

_HINT = "Unpack ImageList.zip and Groundtruth.zip of NUS-WIDE again."


def read_nuswide(source: NusWideSource, labels: Sequence[str], rename: Mapping[str, str]) -> Rows:
    """Images of ``ImageList/TrainImagelist.txt`` (or Test) with ``Groundtruth/TrainTestLabels/Labels_*_Train.txt``.

    There is one label file per concept; its line i, 1 or 0, labels image i of the list. Images that Flickr no longer
    has are missing in the folder and left out like those that cannot be decoded.

    Raises:
        LabelsFileError: a list is missing, differs in length from the image list, or has values other than 1 and 0.
        UnknownLabelError: as :func:`pvlr_sdk.workshop.evaluation.labels_csv.match_columns`.
    """
    images = source.images or source.root / "Flickr"
    rows: Rows = []
    for split in source.splits:
        part = split.capitalize()
        image_list = source.root / "ImageList" / f"{part}Imagelist.txt"
        files = [line.replace("\\", "/") for line in read_lines(image_list)]
        truth = source.root / "Groundtruth" / "TrainTestLabels"
        lists = {
            path.name[len("Labels_") : -len(f"_{part}.txt")]: path
            for path in truth.glob(f"Labels_*_{part}.txt")
        }
        if not lists:
            raise wrong(truth, f"the files Labels_*_{part}.txt", "none", _HINT)
        column = match_columns(truth, sorted(lists), labels, rename)
        targets = np.zeros((len(files), len(labels)), np.int8)
        for concept, index in column.items():
            targets[:, index] = _read_concept(lists[concept], image_list, len(files))
        rows += [(images / file, target) for file, target in zip(files, targets, strict=True)]
    return rows


def _read_concept(path: Path, image_list: Path, count: int) -> list[int]:
    values = read_lines(path)
    if len(values) != count:
        raise wrong(path, f"{count} lines, as in {image_list.name}", str(len(values)), _HINT)
    if other := set(values) - {"0", "1"}:
        raise wrong(path, "1 or 0 in each line", repr(min(other)), _HINT)
    return [1 if value == "1" else -1 for value in values]
