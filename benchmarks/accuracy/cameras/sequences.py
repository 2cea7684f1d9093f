"""Labelled footage on disk: a folder per sequence with frames and ``labels.csv``, or a video with a YAML file.

``docs/camera_accuracy.md`` documents both.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pvlr_sdk import errors
from pvlr_sdk._util.validation import did_you_mean, first_problem
from pvlr_sdk.cameras.site.yaml_file import read_yaml
from pvlr_sdk.cameras.sources.timed import TABLE, read_times

from .score import ABSENT, PRESENT, UNKNOWN, Floats, Truth

LIST = "sequences.csv"
"""Light and view of each sequence, in the folder of the sequences or next to it."""
_CELLS = {"1": PRESENT, "0": ABSENT, "": UNKNOWN}
_TABLE_HINT = "Write a row per frame, below a row that names the columns: file,time,person,car"
_END = 1.0
"""Seconds by which an interval may end after the last frame of a video."""


class Interval(NamedTuple):
    """Seconds from the first frame of the video."""

    start: float
    end: float


class Annotation(Protocol):
    """What is visible in a sequence, as far as it is about its ``labels``."""

    labels: Sequence[str]

    def values(self, times: Floats, labels: Sequence[str]) -> Truth:
        """(T, C): the truth of these labels in the frames at these times, in seconds since the first one.

        Raises LabelsFileError if the annotation does not fit the frames.
        """


@dataclass(frozen=True)
class FrameTable:
    """A row of values per frame, (T, C), from ``labels.csv``. A label without a column is unknown."""

    path: Path
    labels: Sequence[str]
    rows: Truth

    def values(self, times: Floats, labels: Sequence[str]) -> Truth:
        if len(times) != len(self.rows):
            raise _invalid(
                self.path,
                f"{len(self.rows)} frames, one per row",
                f"{len(self.rows) - len(times)} that cannot be decoded",
                "The log names them; replace them, or delete their rows.",
            )
        truth = np.full((len(times), len(labels)), UNKNOWN, np.int8)
        for column, label in enumerate(self.labels):
            if label in labels:
                truth[:, labels.index(label)] = self.rows[:, column]
        return truth


@dataclass(frozen=True)
class IntervalList:
    """Intervals of each label, from a YAML file: ``present``, and ``unknown``. Everything else is absent."""

    path: Path
    present: dict[str, list[Interval]]
    unknown: dict[str, list[Interval]] = field(default_factory=dict)

    @property
    def labels(self) -> Sequence[str]:
        return [*{**self.present, **self.unknown}]

    def values(self, times: Floats, labels: Sequence[str]) -> Truth:
        latest = max((pairs[-1].end for pairs in self.present.values() if pairs), default=0.0)
        if latest > times[-1] + _END:
            raise _invalid(
                self.path,
                f"a video of {latest:g} s, as in its intervals",
                f"{times[-1]:.1f} s",
                "It is another video, or its intervals are wrong.",
            )
        truth = np.full((len(times), len(labels)), ABSENT, np.int8)
        for intervals, value in ((self.unknown, UNKNOWN), (self.present, PRESENT)):
            for label, pairs in intervals.items():
                for start, end in pairs if label in labels else ():
                    truth[(times >= start) & (times <= end), labels.index(label)] = value
        return truth


@dataclass(frozen=True)
class Footage:
    """Footage of one camera: where it is (``uri``, a folder of frames or a video), and what is visible in it."""

    name: str
    uri: Path
    annotation: Annotation
    light: str = ""
    view: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    file: str
    light: str = ""
    view: str = ""
    present: dict[str, list[Interval]] = {}
    unknown: dict[str, list[Interval]] = {}

    @field_validator("present", "unknown")
    @classmethod
    def _in_order(cls, intervals: dict[str, list[Interval]]) -> dict[str, list[Interval]]:
        for label, pairs in intervals.items():
            times = [-1e-9, *(time for pair in pairs for time in pair)]
            if not all(a < b for a, b in pairwise(times)):
                raise ValueError(f"intervals of {label} that are not in order")
        return intervals


def read_sequences(folder: Path) -> list[Footage]:
    """All sequences of a folder: its folders, each with a ``labels.csv``, and its YAML files; or itself.

    Raises:
        OptionError: there is none.
        SourceOpenError: a frame or a video is missing, or a time is wrong.
        LabelsFileError, ConfigError: a table or a YAML file is invalid.
    """
    if not folder.is_dir():
        raise errors.OptionError(
            str(folder), "a folder", "none", "Name the folder that contains the sequences."
        )
    if (folder / TABLE).is_file():
        return [Footage(folder.name, folder, read_table(folder))]
    scenes = _read_list(folder)
    sequences = [
        Footage(path.name, path, read_table(path), *scenes.get(path.name, ("", "")))
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    ]
    sequences += [read_intervals(path) for path in sorted(folder.glob("*.yaml"))]
    if absent := sorted(scenes.keys() - {sequence.name for sequence in sequences}):
        raise errors.OptionError(
            str(folder / absent[0]),
            "a sequence",
            "no such folder",
            f"Correct its name in {LIST}, or delete its row.",
        )
    if not sequences:
        raise errors.OptionError(
            str(folder),
            "at least one sequence",
            "none",
            f"A sequence is a folder with {TABLE} and frames, or a YAML file of a video.",
        )
    return sequences


def read_table(folder: Path) -> FrameTable:
    """The values of ``labels.csv`` in a folder of frames.

    Raises:
        SourceOpenError: as for :func:`read_times`.
        LabelsFileError: it is missing, has no columns ``file`` and ``time``, no label, one of them twice, a row of
            another length, or a value other than 1, 0 and blank.
    """
    path = folder / TABLE
    if not path.is_file():
        raise _invalid(path, "the table of the sequence", "no such file", _TABLE_HINT)
    if read_times(folder) is None:
        raise _invalid(path, "the columns file and time", "a table without them", _TABLE_HINT)
    table = csv.reader(io.StringIO(path.read_text("utf-8-sig")))
    columns = next(table)
    labels = [name for name in columns if name not in ("file", "time")]
    if not labels or len(set(labels)) < len(labels) or "" in labels:
        raise _invalid(path, "a column per label, each once", ", ".join(columns), _TABLE_HINT)
    rows = []
    for cells in filter(None, table):
        if len(cells) != len(columns):
            raise _invalid(
                path,
                f"{len(columns)} cells, as in the first row",
                f"{len(cells)} in line {table.line_num}",
                _TABLE_HINT,
            )
        values = dict(zip(columns, cells, strict=True))
        for label in labels:
            if values[label].strip() not in _CELLS:
                raise _invalid(
                    path,
                    "1, 0 or an empty cell",
                    f"{values[label]!r} in line {table.line_num}, column {label!r}",
                    "Leave unknown cells empty.",
                )
        rows.append([_CELLS[values[label].strip()] for label in labels])
    return FrameTable(path, labels, np.array(rows, np.int8))


def read_intervals(path: Path) -> Footage:
    """A YAML file with ``file``, a video, ``present`` and ``unknown``, and optionally ``light`` and ``view``.

    Raises:
        ConfigError: it is invalid.
        SourceOpenError: the video is missing.
    """
    try:
        content = _File.model_validate(read_yaml(path))
    except ValidationError as error:
        raise errors.ConfigError(
            str(path),
            "file, present and unknown",
            first_problem(error),
            "Write intervals as car: [[4.4, 8.4], [14.4, 19]], in seconds and in order.",
        ) from None
    video = path.parent / os.path.expandvars(content.file)
    if not video.is_file():
        raise errors.SourceOpenError(
            str(video),
            "a video",
            "no such file",
            f"Check file: in {path}, and that its environment variables are set.",
        )
    annotation = IntervalList(path, content.present, content.unknown)
    return Footage(path.stem, video, annotation, content.light, content.view)


def check_labels(sequences: Sequence[Footage], known: Sequence[str]) -> None:
    """Raises LabelsFileError if an annotation has a label that the plan does not have."""
    for sequence in sequences:
        for label in sequence.annotation.labels:
            if label not in known:
                raise _invalid(
                    sequence.uri,
                    "labels of the plan",
                    f"{label!r} of {sequence.name}",
                    did_you_mean(label, known) or "Rename it, or choose labels with --label.",
                )


def _read_list(folder: Path) -> dict[str, tuple[str, str]]:
    """Light and view of each sequence by name, if there is a list of them."""
    paths = (folder / LIST, folder.resolve().parent / LIST)
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if "sequence" not in (table.fieldnames or ()):
            raise _invalid(
                path,
                "the column sequence",
                "a table without it",
                "The first row names the columns: sequence,light,view",
            )
        return {row["sequence"]: (row.get("light") or "", row.get("view") or "") for row in table}


def _invalid(path: Path, expected: str, got: str, hint: str) -> errors.LabelsFileError:
    return errors.LabelsFileError(str(path), expected, got, hint)
