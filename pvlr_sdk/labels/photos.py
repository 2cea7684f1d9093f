"""The photos that labels are taught from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..frames import images
from ..frames.find import find


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


def failure(file: str, error: errors.FrameError) -> dict[str, str]:
    """The entry of ``failed`` for a file."""
    return {"file": file, "error": type(error).__name__, "message": str(error)}
