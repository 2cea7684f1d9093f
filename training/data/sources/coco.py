"""MS-COCO 2014 and 2017: image labels from an instances JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pvlr_sdk.evaluation.label_formats import read_annotations
from pvlr_sdk.evaluation.labels_csv import match_columns

from ..config import CocoSource
from .files import Rows


def read_coco(source: CocoSource, labels: Sequence[str], rename: Mapping[str, str]) -> Rows:
    """All images of the JSON, with or without objects; a category is present if it has an instance or a crowd.

    Raises:
        LabelsFileError: the file is missing, not an instances JSON, or refers to an image or category it does not list.
        UnknownLabelError: as :func:`pvlr_sdk.evaluation.labels_csv.match_columns`.
    """
    read = read_annotations(source.annotations)
    column = match_columns(source.annotations, read.labels, labels, rename)
    targets = np.zeros((len(read.files), len(labels)), np.int8)
    targets[:, list(column.values())] = read.targets[:, [read.labels.index(name) for name in column]]
    return [(source.images / name, target) for name, target in zip(read.files, targets, strict=True)]
