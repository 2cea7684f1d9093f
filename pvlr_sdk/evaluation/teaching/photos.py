"""The photos that labels are taught from: two folders, or a file of labels."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...frames import images
from ...frames.find import find
from ..labels_csv import read_columns, read_labels


@dataclass(frozen=True)
class Photos:
    """N photos and what they show.

    Attributes:
        labels: the C labels to teach.
        files: N paths.
        targets: (N, C) int8: 1 present, -1 absent, 0 unknown.
        failed: files that cannot be read, with the reason, as in ``EvalReport``.
    """

    labels: list[str]
    files: list[Path]
    targets: NDArray[np.int8]
    failed: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def from_folders(
        cls, label: str, positives: Sequence[str | Path] | str | Path, negatives: Sequence[str | Path] | str | Path
    ) -> Photos:
        """Photos of one label. Copies of a photo count once.

        Args:
            label: its name.
            positives, negatives: folders, files or patterns of photos that show it, and of photos that do not.

        Raises:
            OptionError: a photo is in both.
        """
        failed: list[dict[str, str]] = []
        first: dict[str, tuple[Path, int]] = {}
        for given, target in ((positives, 1), (negatives, -1)):
            inputs = [given] if isinstance(given, (str, os.PathLike)) else given
            for path in find(
                [os.fspath(one) for one in inputs], lambda name, error: failed.append(failure(name, error))
            ):
                try:
                    digest = hashlib.sha256(images.read(path)).hexdigest()
                except errors.FrameError as error:
                    failed.append(failure(str(path), error))
                    continue
                earlier, shown = first.setdefault(digest, (path, target))
                if shown != target:
                    got = str(path) if path == earlier else f"{earlier} and {path}, the same photo"
                    hint = "A photo shows the label or it does not: remove it from one of the two."
                    raise errors.OptionError("positives", expected="no photo of negatives", got=got, hint=hint)
        targets = np.array([[shown] for _, shown in first.values()], np.int8).reshape(len(first), 1)
        return cls([label], [path for path, _ in first.values()], targets, failed)

    @classmethod
    def from_table(
        cls,
        labels: str | Path,
        images: str | Path,
        names: Sequence[str] | None = None,
        split: str | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> Photos:
        """Photos of several labels, which may share photos.

        Args:
            labels: a file of labels, in any format of :func:`pvlr_sdk.evaluation.labels_csv.read_labels`.
            images: the folder that its file names are relative to.
            names: the labels to teach; None: all columns.
            split, rename: as for ``read_labels``.

        Raises:
            ImageNotFoundError: ``images`` is not a folder.
            LabelsFileError: the file is invalid.
            OptionError: it has no column for one of ``names``.
        """
        if not os.path.isdir(images):
            expected, hint = "the folder of the images", "Check --images."
            raise errors.ImageNotFoundError(str(images), expected=expected, got="no such folder", hint=hint)
        columns = [(rename or {}).get(column, column) for column in read_columns(labels)]
        taught = columns if names is None else list(names)
        if unknown := next((name for name in taught if name not in columns), None):
            close = difflib.get_close_matches(unknown, columns, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Its columns are {', '.join(columns[:8])}."
            raise errors.OptionError("label", expected=f"a column of {labels}", got=repr(unknown), hint=hint)
        table = read_labels(labels, split, taught, rename)
        return cls(taught, [Path(images, file) for file in table.files], table.targets)


def failure(file: str, error: errors.FrameError) -> dict[str, str]:
    """The entry of ``failed`` for a file."""
    return {"file": file, "error": type(error).__name__, "message": str(error)}
