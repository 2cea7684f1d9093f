"""Annotated copies of tagged images: ``pvlr tag --draw``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..frames.find import InputFrame
    from ..result import TagResult

_QUALITY = 92
_LONGEST_NAME = 255
"""Bytes: the limit of most file systems."""
_JFIF_END = 20
"""Bytes of a JPEG up to the end of its JFIF segment, which a comment may follow."""
_TEXT = b"annotated by pvlr"
_COMMENT = b"\xff\xfe" + (2 + len(_TEXT)).to_bytes(2, "big") + _TEXT
"""A JPEG segment that tells our copies from images that must not be replaced."""


class Album:
    """A folder of annotated images with unique names: ``photo-tags.jpg``, ``clip-000012-tags.jpg``, in subfolders as
    the inputs are below the folder that all share.

    A file is replaced only if an earlier run wrote it here and it is not an input of this run.

    Args:
        folder: created if it does not exist.
        inputs: the files that are tagged in this run.
        heatmap: as for ``TagResult.draw``.
        isolate: decode image files in a restricted process.

    Raises:
        OutputError: the folder or an image cannot be written.
    """

    def __init__(
        self, folder: Path, inputs: Sequence[Path], heatmap: str | bool, isolate: bool = False
    ) -> None:
        from ..frames import images
        from ..frames.isolated import Decoders

        self._folder = folder
        self._inputs = inputs
        self._shared = os.path.commonpath(
            [os.path.dirname(os.path.abspath(path)) for path in inputs]
        )
        self._heatmap = heatmap
        self._decode = Decoders(1).decode if isolate else images.decode
        self._written: set[Path] = set()

    def add(self, item: InputFrame, result: TagResult) -> None:
        """Draw the tags on a copy of the image and write it."""
        from .._util.files import write_files
        from ..frames.bgr import encode_jpeg
        from ..frames.frames import load_frame

        pixels = load_frame(item.pixels, decode=self._decode).pixels
        jpeg = encode_jpeg(result.draw(pixels, heatmap=self._heatmap), _QUALITY)
        path = self._free_path(item)
        write_files({path: jpeg[:_JFIF_END] + _COMMENT + jpeg[_JFIF_END:]})
        self._written.add(path)

    def _free_path(self, item: InputFrame) -> Path:
        source = Path(os.path.abspath(item.source))
        folder = self._folder / source.parent.relative_to(self._shared)
        frame = "" if item.frame is None else f"-{item.frame:06}"
        for stem, number in chain(
            [(source.stem, "")], ((source.name, f"-{n}" if n else "") for n in count())
        ):
            end = f"{frame}{number}-tags.jpg"
            while len(os.fsencode(stem + end)) > _LONGEST_NAME:
                stem = stem[:-1]
            path = folder / (stem + end)
            if path not in self._written and (not os.path.lexists(path) or self._is_old_copy(path)):
                return path
        raise AssertionError("count() does not end")

    def _is_old_copy(self, path: Path) -> bool:
        try:
            if not path.is_file() or _identity(path) in self._identities:
                return False
            with open(path, "rb") as file:
                return file.read(_JFIF_END + len(_COMMENT)).endswith(_COMMENT)
        except OSError:
            return False

    @cached_property
    def _identities(self) -> set[tuple[int, int]]:
        return {_identity(path) for path in self._inputs if path.exists()}


def _identity(path: Path) -> tuple[int, int]:
    """The same for all names of a file."""
    status = path.stat()
    return status.st_dev, status.st_ino
