"""JPEG files of the frames that turned events on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..files import write_files

_QUALITY = 90


class Snapshot(NamedTuple):
    """A frame and where it goes; ``order`` is that of its channels, as in ``CapturedFrame``."""

    path: Path
    pixels: NDArray[np.uint8]
    order: str


class SnapshotSink:
    """Writes each frame as a JPEG."""

    def __init__(self, folder: Path) -> None:
        self.name = f"snapshots {folder}"

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

    def close(self) -> None:
        """Nothing to do."""
