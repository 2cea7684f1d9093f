"""JPEG files of the frames that started events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._util.files import write_files
from .disk import FOLDER_MODE, output_errors, own_folder, trim
from .worker import Sink

if TYPE_CHECKING:
    from ...frames.frames import Order

_FORM = r"(?!\.)[\w.-]+/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.jpg"
"""A camera and the id of an event."""
_QUALITY = 90
_TRIMS = 20
"""Number of times that the folder is trimmed while ``max_bytes`` are written."""


class Snapshot(NamedTuple):
    """A frame and the path to write it to; ``order`` is as in ``CapturedFrame``."""

    camera: str
    path: Path
    pixels: NDArray[np.uint8]
    order: Order


class SnapshotSink(Sink[Snapshot]):
    """Writes frames as JPEG files, and deletes the oldest snapshots in its folder above ``max_bytes``.

    Args:
        written: called with the camera and the JPEG of each snapshot.

    Attributes:
        folder: the folder ``pvlr`` in the folder of the argument; frames belong at ``CAMERA/ID.jpg`` in it.

    Raises:
        OutputError: the folder cannot be created or is not the SDK's own.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int = 10**9,
        written: Callable[[str, bytes], object] = lambda *_: None,
    ) -> None:
        self.name = f"snapshots {folder}"
        self.folder = own_folder(folder, "a folder to write snapshots to")
        self._max_bytes = max_bytes
        self._written = written
        self._untrimmed = max_bytes  # the first frame also trims what earlier processes left

    def write(self, item: Snapshot) -> None:
        """Encode and write one frame, completely or not at all."""
        from ...frames.bgr import encode_jpeg, load_bgr
        from ...frames.frames import color_of

        encoded = encode_jpeg(load_bgr(item.pixels, color_of(item.order)), _QUALITY)
        with output_errors(item.path, "a writable path"):
            item.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        write_files({item.path: encoded})
        self._written(item.camera, encoded)
        self._untrimmed += len(encoded)
        if self._untrimmed > self._max_bytes // _TRIMS:
            trim(self.folder, _FORM, self._max_bytes, item.path)
            self._untrimmed = 0
