"""The user's images for int8 ranges and the accuracy gate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...frames import find
from ...frames.frames import FrameLike

if TYPE_CHECKING:
    from ..evaluation.labels_csv import LabelTable

_RANGES = 200
"""Images that ranges are measured on; more changed nothing on a Lite2 network."""
_GATE = 500
"""Images of the accuracy gate; none of those above."""
_FEWEST = 32
_OPTION = "--calibration-images"


@dataclass(frozen=True)
class CalibrationImages:
    """The user's images: every other one for the ranges, the rest for the gate, and of both evenly spaced ones, because
    images may be listed data set by data set. ``targets`` (N, C) may be None."""

    frames: Sequence[FrameLike]
    targets: NDArray[Any] | None = None

    @classmethod
    def below(cls, folder: str | os.PathLike[str], option: str = _OPTION) -> CalibrationImages:
        """The images of a folder and its subfolders, shuffled in a reproducible order.

        Raises:
            ImageNotFoundError: there are none; ``option`` names the option to check.
        """
        find.check_folder(folder, option)

        def unreadable(_: str, error: errors.FrameError) -> None:
            raise error

        files = [
            path for path in find.find([os.fspath(folder)], unreadable) if not find.is_video(path)
        ]
        return cls([files[i] for i in np.random.default_rng(0).permutation(len(files))])

    @classmethod
    def listed(cls, folder: Path, table: LabelTable, option: str = _OPTION) -> CalibrationImages:
        """The images in a labels CSV, in its order.

        Raises:
            ImageNotFoundError: the folder does not exist; ``option`` names the option to check.
        """
        find.check_folder(folder, option)
        return cls([folder / file for file in table.files], table.targets)

    def evenly(self, limit: int | None) -> CalibrationImages:
        """At most ``limit`` images, evenly spaced."""
        if limit is None or limit >= len(self.frames):
            return self
        chosen = np.linspace(0, len(self.frames) - 1, limit).round().astype(int)
        return CalibrationImages(
            [self.frames[i] for i in chosen], None if self.targets is None else self.targets[chosen]
        )

    @property
    def ranges(self) -> Sequence[FrameLike]:
        """The images to quantise with."""
        return CalibrationImages(self.frames[0::2]).evenly(_RANGES).frames

    def gate(self, limit: int = _GATE) -> tuple[Sequence[FrameLike], NDArray[Any] | None]:
        """At most ``limit`` images that no range was measured on, and their targets."""
        targets = None if self.targets is None else self.targets[1::2]
        chosen = CalibrationImages(self.frames[1::2], targets).evenly(limit)
        return chosen.frames, chosen.targets

    def check(self) -> None:
        """Raises OptionError if there are too few images."""
        if len(self.frames) < _FEWEST:
            raise errors.OptionError(
                "calibration_images",
                f"at least {_FEWEST} images",
                f"{len(self.frames)}",
                "Provide a few hundred representative images.",
            )


def missing_for_int8() -> errors.OptionError:
    """The error for int8 without images."""
    return errors.OptionError(
        "precision", "calibration images for int8", "none", f"Name a folder with {_OPTION} DIR."
    )
