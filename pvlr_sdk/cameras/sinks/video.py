"""Annotated video of a camera's frames."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ... import errors
from ..._util.escape import file_name
from .disk import FOLDER_MODE, output_errors, own_folder, trim
from .queues import MemoryQueue
from .settings import ConfigPath, FrameSinkSettings, Positive
from .worker import Sink, SinkWorker

if TYPE_CHECKING:
    from ..stream import Observation

_FORM = r"\d{4}-\d\d-\d\dT\d{6}\.\d{3}Z(-again)*\.mkv"
_TICKS = 1000
"""Ticks per second of the video's clock."""
_NOMINAL_RATE = 30
"""Frames per second for the encoder's bit rate; each frame keeps its own time."""
_PAUSE = 5.0
"""Seconds without an attempt after a failure: each would leave an empty file."""
_CLOSE_WAIT = 0.3
_EXPECTED = "a folder to write video to"
_FRAMES_WAITING = 4


class VideoSettings(FrameSinkSettings):
    """Annotated video of all cameras, or of ``cameras``, a new file every ``minutes``; the files of a
    camera are kept below ``max_mb``."""

    kind: Literal["video"] = "video"
    folder: ConfigPath
    minutes: Positive = 10.0
    max_mb: Positive = 10_000.0

    def open(self, camera: str) -> SinkWorker[Observation]:
        sink = VideoSink(self.folder, camera, self.minutes, int(self.max_mb * 1e6))
        return SinkWorker(sink, MemoryQueue(_FRAMES_WAITING), retry=False)


class VideoSink(Sink["Observation"]):
    """Writes the frames with their tags drawn on them to ``FOLDER/pvlr/CAMERA/2026-01-31T120000.000Z.mkv``, a new file
    every few minutes and whenever the frame size changes.

    Frames keep their own times, so that the video plays at the camera's real rate. H.264 if PyAV's FFmpeg can encode
    it, otherwise MPEG-4; in Matroska, which is playable up to the last frame even if the process is killed.

    Args:
        folder: created if it does not exist.
        camera: the camera's name.
        minutes: length of a file.
        max_bytes: limit for all videos of the camera in the folder; the oldest are deleted.

    Raises:
        MissingPartError: PyAV is not installed.
        OutputError: the folder cannot be created or is not the SDK's own.
    """

    def __init__(
        self, folder: Path, camera: str, minutes: float = 10.0, max_bytes: int = 10**10
    ) -> None:
        with errors.needed("video", "PyAV", "cameras"):
            import av
        self._own = own_folder(folder, _EXPECTED)
        self._folder = self._own / file_name(camera)
        self.name = f"video {folder / file_name(camera)}"
        self._seconds = 60 * minutes
        self._form = f"{re.escape(self._folder.name)}/{_FORM}"
        self._max_bytes = max_bytes
        self._codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._lock = threading.Lock()
        self._container: Any = None
        self._stream: Any = None
        self._began = 0.0
        self._last = -1
        self._not_before = 0.0
        with output_errors(self._folder, _EXPECTED):
            self._folder.mkdir(mode=FOLDER_MODE, exist_ok=True)

    def write(self, item: Observation) -> None:
        """Draw and encode one frame; one that is not newer than the last one is skipped.

        After an OutputError further frames fail for a few seconds without an attempt.
        """
        import av

        if time.monotonic() < self._not_before:
            with output_errors(self._folder, _EXPECTED):
                raise OSError("a failure a moment ago")
        drawn = item.result.draw(item.frame.pixels, item.frame.color)
        # chroma has half the size
        drawn = drawn[: drawn.shape[0] // 2 * 2, : drawn.shape[1] // 2 * 2]
        with self._lock, output_errors(self._folder, _EXPECTED):
            try:
                tick = self._prepare(item, drawn.shape[1], drawn.shape[0])
                if tick > self._last:
                    frame = av.VideoFrame.from_ndarray(drawn, format="bgr24")
                    frame.pts = tick
                    frame.time_base = Fraction(1, _TICKS)
                    self._last = tick
                    self._container.mux(self._stream.encode(frame))
            except OSError:
                self._not_before = time.monotonic() + _PAUSE
                self._finish()
                raise

    def close(self) -> None:
        """Finish the file, unless another thread still writes to it."""
        if self._lock.acquire(timeout=_CLOSE_WAIT):
            self._finish()
            self._lock.release()

    def _prepare(self, item: Observation, width: int, height: int) -> int:
        """The frame's time on the clock of its file, which is opened if necessary."""
        elapsed = item.frame.captured - self._began
        if self._container is not None and (
            elapsed >= self._seconds or (self._stream.width, self._stream.height) != (width, height)
        ):
            self._finish()
        if self._container is None:
            self._open(item.frame.wall, width, height)
            self._began = item.frame.captured
            elapsed = 0.0
        return round(elapsed * _TICKS)

    def _open(self, wall: float, width: int, height: int) -> None:
        import av

        moment = datetime.fromtimestamp(wall, timezone.utc)
        path = self._folder / f"{moment:%Y-%m-%dT%H%M%S}.{moment.microsecond // 1000:03}Z.mkv"
        while path.exists():  # the clock was set back
            path = path.with_stem(f"{path.stem}-again")
        trim(self._own, self._form, self._max_bytes, path)
        self._container = av.open(str(path), "w", format="matroska")
        self._last = -1
        self._stream = self._container.add_stream(
            self._codec,
            rate=_NOMINAL_RATE,
            options={"preset": "veryfast"} if self._codec == "libx264" else {},
        )
        self._stream.width = width
        self._stream.height = height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream.codec_context.thread_count = 1  # tagging needs the other cores

    def _finish(self) -> None:
        container = self._container
        self._container = None
        if container is None:
            return
        with contextlib.suppress(OSError):  # a full disk, already reported
            container.mux(self._stream.encode(None))
        with contextlib.suppress(OSError):
            container.close()
