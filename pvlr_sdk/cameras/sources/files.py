"""Paths as sources: an image, a folder of images, or a video, which FFmpeg decodes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ... import errors
from ...frames import find as finding
from . import ffmpeg
from .source import CapturedFrame, EndOfSource, Source, SourceOptions, lost
from .timed import read_times
from .uri import PathUri

if TYPE_CHECKING:
    from ...frames.frames import Frame

_log = logging.getLogger(__name__)


def open(uri: PathUri, options: SourceOptions) -> Source:
    return ImageSource(uri, options.loop) if _has_images(uri) else ffmpeg.FFmpegSource(uri, options)


def check(uri: PathUri) -> None:
    """Check that PyAV is installed, if the path is a video."""
    if not _has_images(uri):
        ffmpeg.load_av(uri)


def _has_images(uri: PathUri) -> bool:
    return os.path.isdir(uri.path) or os.path.splitext(uri.path)[1].lower() in finding.IMAGES


class ImageSource:
    """The images in a folder and its subfolders in the order of their names, or a single image.

    Frames whose folder has a table of their times (:mod:`.timed`) are in its order and have these times.
    """

    live = False

    def __init__(self, uri: PathUri, loop: bool) -> None:
        self.uri = uri.redacted()
        self.decode_errors = self.skipped = 0
        self._path = uri.path
        self._loop = loop
        self._closed = threading.Event()
        self._sequence = 0
        self._times = self._read_times()
        self._frames = self._load(self._find())

    def read(self) -> CapturedFrame:
        if self._closed.is_set():
            raise lost(self.uri, "a closed source")
        item = next(self._frames, None)
        if item is None:
            raise EndOfSource
        frame, seconds = item
        sequence = self._sequence
        self._sequence = self._sequence + 1
        return CapturedFrame(
            frame.pixels, frame.order, time.monotonic(), time.time(), seconds, sequence
        )

    def close(self) -> None:
        self._closed.set()

    def _read_times(self) -> dict[Path, float]:
        """Seconds since the first frame by path; empty: the images have no times."""
        folder = Path(self._path)
        times = (read_times(folder) if folder.is_dir() else None) or {}
        return {folder / file: seconds for file, seconds in times.items()}

    def _load(self, paths: list[Path]) -> Iterator[tuple[Frame, float | None]]:
        """Each frame and its ``source_time``, which goes on where a loop begins again."""
        from ...frames.frames import load_frame

        began = 0.0
        while True:
            bad = 0
            for path in paths:
                try:
                    frame = load_frame(path)
                except errors.FrameError as error:
                    bad += 1
                    self.decode_errors += 1
                    if self.decode_errors == bad:  # not each time in a loop
                        _log.warning("%s: skipped: %s", self.uri, error)
                else:
                    yield frame, began + self._times[path] if self._times else None
            if bad == len(paths):
                self._fail("no readable image")
            if not self._loop:
                return
            began += _length(list(self._times.values()))
            paths = self._find()

    def _find(self) -> list[Path]:
        if self._times:
            return list(self._times)
        problems: list[str] = []
        paths = finding.find([self._path], lambda name, error: problems.append(error.got))
        images = [path for path in paths if not finding.is_video(path)]
        if not images or not os.path.exists(self._path):
            self._fail(
                problems[0] if problems else "no such file" if images else "a folder of videos only"
            )
        return images

    def _fail(self, got: str) -> None:
        raise errors.SourceOpenError(
            self.uri, "at least one image", got, "Check the path and its permissions."
        )


def _length(times: list[float]) -> float:
    """Seconds of frames with these times: the last one stays for as long as the others do on average."""
    return times[-1] * len(times) / (len(times) - 1) if len(times) > 1 else 1.0
