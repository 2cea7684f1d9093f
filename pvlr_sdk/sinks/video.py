"""Annotated video of what a camera sees."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from .retention import trim

if TYPE_CHECKING:
    from ..stream import Observation

_TICKS = 1000
"""Of the video's clock, a second."""
_NOMINAL_RATE = 30
"""Frames a second that the encoder plans its bits for; each frame keeps its own time."""
_PAUSE = 5.0
"""Seconds without a try after a failure: each would leave an empty file."""
_CLOSE_WAIT = 0.3


class VideoSink:
    """Writes the frames with their tags drawn on them to ``FOLDER/2026-01-31T120000.000Z.mkv``, a new file every few
    minutes and whenever the picture's size changes.

    Frames keep their own times, so that a camera that stutters looks as it did. H.264 where PyAV's FFmpeg can write
    it, else MPEG-4; in Matroska, which plays up to the last frame even if the process is killed.

    Args:
        folder: made if need be.
        minutes: length of a file.
        max_bytes: of all files in the folder; the oldest are deleted.

    Raises:
        MissingPartError: PyAV is not installed.
        OutputError: the folder can't be made.
    """

    def __init__(self, folder: Path, minutes: float = 10.0, max_bytes: int = 10**10) -> None:
        try:
            import av
        except ImportError:
            raise errors.MissingPartError(
                "video", expected="PyAV", got="none", hint='Install it with pip install "pvlr-sdk[cameras]".'
            ) from None
        self.name = f"video {folder}"
        self._folder = folder
        self._seconds = 60 * minutes
        self._max_bytes = max_bytes
        self._codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._lock = threading.Lock()
        self._container: Any = None
        self._stream: Any = None
        self._began = 0.0
        self._last = -1
        self._not_before = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._error(error) from error

    def write(self, item: Observation) -> None:
        """Draw and encode one frame; one that is not newer than the one before is left out.

        Raises:
            OutputError: no space or no permission; the next tries follow after some seconds.
        """
        import av

        if time.monotonic() < self._not_before:
            raise self._error(OSError("a failure a moment ago"))
        picture = item.result.draw(item.frame.pixels, item.frame.color)
        picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]  # its chroma has half the size
        with self._lock:
            try:
                tick = self._prepare(item, picture.shape[1], picture.shape[0])
                if tick > self._last:
                    frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                    frame.pts, frame.time_base, self._last = tick, Fraction(1, _TICKS), tick
                    self._container.mux(self._stream.encode(frame))
            except OSError as error:
                self._not_before = time.monotonic() + _PAUSE
                self._finish()
                raise self._error(error) from error

    def close(self) -> None:
        """Finish the file, unless another thread is still busy with it."""
        if self._lock.acquire(timeout=_CLOSE_WAIT):
            self._finish()
            self._lock.release()

    def _prepare(self, item: Observation, width: int, height: int) -> int:
        """The frame's time on the clock of its file, which is opened if need be."""
        elapsed = item.frame.captured - self._began
        if self._container is not None and (
            elapsed >= self._seconds or (self._stream.width, self._stream.height) != (width, height)
        ):
            self._finish()
        if self._container is None:
            self._open(item.frame.wall, width, height)
            self._began, elapsed = item.frame.captured, 0.0
        return round(elapsed * _TICKS)

    def _open(self, wall: float, width: int, height: int) -> None:
        import av

        trim(self._folder, "*.mkv", self._max_bytes)
        moment = datetime.fromtimestamp(wall, timezone.utc)
        path = self._folder / f"{moment:%Y-%m-%dT%H%M%S}.{moment.microsecond // 1000:03}Z.mkv"
        while path.exists():  # the clock was set back
            path = path.with_stem(f"{path.stem}-again")
        self._container, self._last = av.open(str(path), "w", format="matroska"), -1
        self._stream = self._container.add_stream(
            self._codec, rate=_NOMINAL_RATE, options={"preset": "veryfast"} if self._codec == "libx264" else {}
        )
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream.codec_context.thread_count = 1  # tagging needs the others

    def _finish(self) -> None:
        container, self._container = self._container, None
        if container is None:
            return
        with contextlib.suppress(OSError):  # a full disk, that was reported
            container.mux(self._stream.encode(None))
        with contextlib.suppress(OSError):
            container.close()

    def _error(self, error: OSError) -> errors.OutputError:
        return errors.OutputError(
            str(self._folder),
            expected="a folder to write video to",
            got=error.strerror or str(error),
            hint="Free some space or choose another folder.",
        )
