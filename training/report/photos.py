"""Which photos a run is measured on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.errors import ImageNotFoundError, LabelsFileError, OptionError
from pvlr_sdk.labels_csv import read_labels

from ..config import CocoSource
from ..holdout import is_held_out
from ..sources import Rows, read_source
from .runs import Run


@dataclass(frozen=True)
class PhotoSet:
    """Photos, their targets (n, C) int8 (1 present, -1 absent, 0 unknown), and what they are, in words."""

    paths: list[Path]
    targets: NDArray[np.int8]
    description: str


def choose_photos(run: Run, images: Path | None, labels: Path | None, split: str | None) -> PhotoSet:
    """The photos to measure a run on.

    By default those that it held out of its own training. ``split`` takes that split of its own sources instead;
    ``images`` and ``labels`` other photos (of which ``split`` takes a part).

    Raises:
        OptionError: ``images`` without ``labels``, or a split of a source that has none.
        LabelsFileError, UnknownLabelError, ImageNotFoundError: what is wrong with the files.
    """
    if (images is None) != (labels is None):
        missing = "--labels" if labels is None else "--images"
        raise OptionError(missing, expected="both --images and --labels, or neither", got="one", hint="Add the other.")
    if images is not None and labels is not None:
        if not os.path.isdir(images):
            raise ImageNotFoundError(
                str(images), expected="the folder of the photos", got="no such folder", hint="Check --images."
            )
        table = read_labels(labels, split, run.labels)
        rows = [(images / name, target) for name, target in zip(table.files, table.targets, strict=True)]
        return _photo_set(rows, labels.name + (f", split {split}" if split else ""))
    if split is not None:
        return _photo_set(_split_of_sources(run, split), f"split {split} of its data")
    share = run.config.data.holdout
    held = [row for source in run.config.data.sources for row in read_source(source, run.labels)]
    held = [row for row in held if is_held_out(row[0].name, share)]
    return _photo_set(held, "held out of its training")


def _split_of_sources(run: Run, split: str) -> Rows:
    rows: Rows = []
    for source in run.config.data.sources:
        if isinstance(source, CocoSource):
            raise OptionError(
                "--split",
                expected="a split of every source",
                got=f"{split!r}, and {source.annotations} has no splits",
                hint="Name other photos with --images and --labels.",
            )
        rows += read_source(source.model_copy(update={"splits": (split,)}), run.labels)
    return rows


def _photo_set(rows: Rows, description: str) -> PhotoSet:
    if not any((target == 1).any() for _, target in rows):
        raise LabelsFileError(
            "photos",
            expected="at least one photo with a label",
            got=f"{len(rows)} photos ({description}), none labelled",
            hint="Name other photos with --images and --labels, or another --split.",
        )
    return PhotoSet([path for path, _ in rows], np.stack([target for _, target in rows]), description)
