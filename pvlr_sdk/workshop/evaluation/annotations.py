"""The images of a label file and their labels, and the errors of such files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ..._util.files import read_file
from ..._util.plain_json import Limits

LIMITS = Limits(size=2**31, values=10**8, depth=32)
"""Of a label file: twice the values of the annotations of COCO's training set, and four times its bytes."""
_MOST_TARGETS = 2**30
"""Bytes of the targets: nine million images with the labels of COCO."""
INVALID = 2
"""The target of a cell that is not a value."""


@dataclass(frozen=True)
class Annotations:
    """The images of a file and their labels.

    Attributes:
        labels: C names.
        files: N paths, as the file states them.
        targets: (N, C) int8: 1 present, -1 absent, 0 unknown, INVALID.
        splits: N names; None without splits.
        lines: N line numbers, of a CSV.
        invalid: the texts of the INVALID cells, by row and column.
        broken: an error for each row that cannot be read; these are not in ``files``.
        spaced: a cell of tags that was split at its spaces, or "".
    """

    labels: list[str]
    files: list[str]
    targets: NDArray[np.int8]
    splits: list[str] | None = None
    lines: list[int] = field(default_factory=list)
    invalid: dict[tuple[int, int], str] = field(default_factory=dict)
    broken: list[errors.LabelsFileError] = field(default_factory=list)
    spaced: str = ""


def annotations_of_tags(
    path: Path,
    tags: Mapping[str, Iterable[str]],
    splits: list[str] | None = None,
    labels: Iterable[str] = (),
) -> Annotations:
    """Annotations of images with their present labels; all other labels are absent.

    Raises LabelsFileError if ``path`` names so many images and labels that their product does not fit the memory.
    """
    names = list(
        dict.fromkeys([*labels, *(tag for image_tags in tags.values() for tag in image_tags)])
    )
    if len(tags) * len(names) > _MOST_TARGETS:
        got = f"{len(tags)} images and {len(names)} labels"
        raise wrong(path, f"images x labels up to {_MOST_TARGETS}", got, "Leave out rare labels.")
    position = {name: index for index, name in enumerate(names)}
    targets = np.full((len(tags), len(names)), -1, np.int8)
    for target, image_tags in zip(targets, tags.values(), strict=True):
        target[[position[tag] for tag in image_tags]] = 1
    return Annotations(names, list(tags), targets, splits)


def read_text(path: Path) -> str:
    """The contents of a UTF-8 file; raises LabelsFileError if it cannot be read, is not a regular file or too large."""
    try:
        return read_file(path, LIMITS.size).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(
            path, "a UTF-8 text file", f"another encoding ({error.reason})", "Save it as UTF-8."
        ) from None
    except OSError as error:
        raise wrong(
            path, "a readable file", error.strerror or str(error), "Check the path."
        ) from None


def no_duplicates(path: Path, values: Iterable[str], expected: str, hint: str) -> None:
    """Raises LabelsFileError if a value occurs twice."""
    if twice := [value for value, count in Counter(values).items() if count > 1]:
        raise wrong(path, expected, f"{twice[0]!r} twice", hint)


def wrong(path: Path, expected: str, got: str, hint: str) -> errors.LabelsFileError:
    """The error for an invalid label file."""
    return errors.LabelsFileError(str(path), expected, got, hint)
