"""One picture or a folder of them, as a source."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from .. import errors
from ..frames import Frame, load_frame
from . import files
from .captured import CapturedFrame, EndOfSource
from .uri import PathUri


class PictureSource:
    """The pictures below a folder in the order of their names, or a single one.

    Raises:
        SourceOpenError: there is none.
    """

    live = False

    def __init__(self, uri: PathUri, loop: bool) -> None:
        self.uri = uri.redacted()
        self.decode_errors = self.skipped = 0
        self._path = uri.path
        self._loop = loop
        self._closed = threading.Event()
        self._sequence = 0
        self._frames = self._load(self._find())

    def read(self) -> CapturedFrame:
        if self._closed.is_set():
            raise errors.SourceLostError(self.uri, expected="an open source", got="a closed one", hint="Open it again.")
        frame = next(self._frames, None)
        if frame is None:
            raise EndOfSource
        sequence, self._sequence = self._sequence, self._sequence + 1
        return CapturedFrame(frame.pixels, frame.order, time.monotonic(), time.time(), None, sequence)

    def close(self) -> None:
        self._closed.set()

    def _load(self, paths: list[Path]) -> Iterator[Frame]:
        while True:
            bad = 0
            for path in paths:
                try:
                    frame = load_frame(path)
                except errors.FrameError:
                    bad += 1
                    self.decode_errors += 1
                else:
                    yield frame
            if bad == len(paths):
                self._fail("none that can be read")
            if not self._loop:
                return
            paths = self._find()

    def _find(self) -> list[Path]:
        problems: list[str] = []
        found = files.find([self._path], lambda name, error: problems.append(error.got))
        pictures = [path for path in found if not files.is_video(path)]
        if not pictures or not pictures[0].is_file():
            self._fail(problems[0] if problems else "no such file" if pictures else "a folder with videos only")
        return pictures

    def _fail(self, got: str) -> None:
        raise errors.SourceOpenError(
            self.uri, expected="at least one picture", got=got, hint="Check the path and its permissions."
        )
