"""JPEG files of the frames that turned events on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..files import write_files
from .retention import trim

_QUALITY = 90
_TRIMS = 20
"""How often the folder is looked through while its whole room is written once."""


class Snapshot(NamedTuple):
    """A frame and where it goes; ``order`` is that of its channels, as in ``CapturedFrame``."""

    path: Path
    pixels: NDArray[np.uint8]
    order: str


class SnapshotSink:
    """Writes each frame as a JPEG below a folder, of at most ``max_bytes`` in all; the oldest are deleted."""

    def __init__(self, folder: Path, max_bytes: int = 10**9) -> None:
        self.name = f"snapshots {folder}"
        self._folder = folder
        self._max_bytes = max_bytes
        self._untrimmed = max_bytes  # what earlier processes left is looked through with the first frame

    def write(self, item: Snapshot) -> None:
        """Encode and write one frame, all of it or nothing.

        Raises:
            OutputError: there is no space, or no permission.
        """
        import cv2

        from ..frames import load_bgr

        color = "bgr" if item.order == "gray" else item.order
        encoded = cv2.imencode(".jpg", load_bgr(item.pixels, color), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        write_files({item.path: encoded.tobytes()})
        self._untrimmed += len(encoded)
        if self._untrimmed > self._max_bytes // _TRIMS:
            trim(self._folder, "*/*.jpg", self._max_bytes)
            self._untrimmed = 0

    def close(self) -> None:
        """Nothing to do."""
