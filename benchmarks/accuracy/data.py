"""The labelled images that benchmarks of accuracy measure on, below $PVLR_DATA."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pvlr_sdk import errors
from pvlr_sdk.workshop.evaluation.labels_csv import (
    LabelTable,
    read_columns,
    read_labels,
    read_rename,
)

from ..common import ROOT

FOLDERS = {"voc": "voc2007", "coco": "coco"}
"""By name of a data set: its folder, with ``images/`` and ``labels.csv``."""

Plan = Annotated[
    str | None, typer.Option(help="Plan, or the name of a model. Default: the bundled model.")
]
Data = Annotated[
    Path | None, typer.Option(help="Folder of voc2007, coco and video. Default: $PVLR_DATA.")
]
Dataset = Annotated[str, typer.Option(help=f"Data set: {' or '.join(FOLDERS)}.")]
Split = Annotated[str, typer.Option(help="Split of labels.csv to measure on.")]
Share = Annotated[
    float, typer.Option(help="Share of the images, evenly chosen: above 0, at most 1.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the engine. Default: all cores.")
]


def data_folder(given: Path | None) -> Path:
    """The folder of the data sets. Raises OptionError if there is none."""
    folder = given or os.environ.get("PVLR_DATA")
    if not folder or not Path(folder).is_dir():
        raise errors.OptionError(
            "--data",
            f"the folder of {', '.join(FOLDERS.values())} and video",
            repr(str(folder)) if folder else "none",
            "Give --data, or set PVLR_DATA.",
        )
    return Path(folder)


def read_split(
    data: Path, name: str, split: str, labels: Sequence[str], share: float = 1.0
) -> tuple[Path, LabelTable]:
    """The folder of the images of a data set, and their targets for the labels of a model.

    Labels that COCO calls differently than VOC are mapped to the model's.

    Raises:
        OptionError: there is no such data set, or the share is out of range.
        LabelsFileError: as for :func:`read_labels`.
    """
    if name not in FOLDERS:
        raise errors.OptionError(
            "--dataset",
            " or ".join(FOLDERS),
            repr(name),
            "VOC takes less time, COCO has more labels.",
        )
    if not 0 < share <= 1:
        raise errors.OptionError(
            "--share", "above 0 and at most 1", repr(share), "0.2 is a fifth of the images."
        )
    names = read_rename(ROOT / "training/configs/voc_to_coco.json") if name == "voc" else {}
    path = data / FOLDERS[name] / "labels.csv"
    rename = {
        column: names[column]
        for column in read_columns(path)
        if column not in labels and column in names
    }
    table = read_labels(
        path, split, labels, {column: label for column, label in rename.items() if label in labels}
    )
    rows = np.linspace(
        0, len(table.files), max(1, round(share * len(table.files))), endpoint=False
    ).astype(int)
    chosen = replace(table, files=[table.files[row] for row in rows], targets=table.targets[rows])
    return data / FOLDERS[name] / "images", chosen


def check_outputs(*paths: Path | None) -> None:
    """Before a long run: the folders of its files exist. Raises OptionError."""
    for path in paths:
        if path and not path.absolute().parent.is_dir():
            raise errors.OptionError(
                str(path), "a file in a folder that exists", "no such folder", "Create it first."
            )
