"""Pascal VOC 2007 to 2012 in the layout of the official devkit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from pvlr_sdk.workshop.evaluation.annotations import read_text, wrong
from pvlr_sdk.workshop.evaluation.labels_csv import match_columns

from ..config import VocSource
from .files import Rows, read_lines

VOC_CLASSES = (
    *(
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
    ),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def read_voc(source: VocSource, labels: Sequence[str], rename: Mapping[str, str]) -> Rows:
    """Images of ``ImageSets/Main/<split>.txt`` with the objects of ``Annotations/<id>.xml``.

    A class is present if any of its objects is not marked difficult, unknown if all are, and absent without objects:
    the 1, 0 and -1 of the devkit's lists ``<class>_<split>.txt``, where evaluation ignores 0.

    Raises:
        LabelsFileError: a list or annotation is missing, not XML, or names a class outside VOC.
        UnknownLabelError: as :func:`pvlr_sdk.workshop.evaluation.labels_csv.match_columns`.
    """
    column = match_columns(source.devkit, VOC_CLASSES, labels, rename)
    rows: Rows = []
    for split in source.splits:
        for line in read_lines(source.devkit / "ImageSets" / "Main" / f"{split}.txt"):
            name = line.split()[0]
            target = np.zeros(len(labels), np.int8)
            target[list(column.values())] = -1
            for label, difficult in _objects(source.devkit / "Annotations" / f"{name}.xml"):
                if label in column:
                    target[column[label]] = max(target[column[label]], 0 if difficult else 1)
            rows.append((source.devkit / "JPEGImages" / f"{name}.jpg", target))
    return rows


def _objects(path: Path) -> list[tuple[str, bool]]:
    """Class and "difficult" of each object; parts (head, hand, foot) are one level deeper and ignored."""
    try:
        root = ElementTree.fromstring(read_text(path))
    except ElementTree.ParseError as error:
        raise wrong(
            path, "an annotation in XML", str(error), "Unpack the official archive again."
        ) from None
    objects = [
        (
            (thing.findtext("name") or "").strip(),
            (thing.findtext("difficult") or "0").strip() != "0",
        )
        for thing in root.findall("object")
    ]
    for label, _ in objects:
        if label not in VOC_CLASSES:
            raise wrong(
                path,
                "objects of the 20 VOC classes",
                repr(label),
                "For your own classes, write a labels CSV (docs/training.md).",
            )
    return objects
