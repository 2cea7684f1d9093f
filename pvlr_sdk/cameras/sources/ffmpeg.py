"""Videos, network cameras and V4L2 devices, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from ... import errors
from .ffmpeg_options import MAX_PIXELS, limit_allocations, open_arguments
from .source import CapturedFrame, EndOfSource, SourceOptions, lost
from .uri import DeviceUri, NetworkUri, PathUri

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

_BEHIND = 0.5
"""Seconds without waiting for the source after which decoding counts as behind: queued packets grow old."""

_WAITED = 0.002
"""Seconds to get a packet above which it was not already queued."""


class FFmpegSource:
    """Frames in BGR from anything that FFmpeg opens.

    When decoding falls behind a live source, packets are skipped up to the next key frame: frames are lost instead of
    delayed.

    Args:
        uri: a file, a network stream or a V4L2 device.
        options: see :func:`pvlr_sdk.open_source`; the timeout also limits each step of connecting.

    Raises: what :func:`pvlr_sdk.open_source` raises.
    """

    def __init__(self, uri: PathUri | NetworkUri | DeviceUri, options: SourceOptions) -> None:
        self.uri = uri.redacted()
        self.decode_errors = self.skipped = 0
        self._av = load_av(uri)
        self._parsed = uri
        self._target, self._format, self._options = open_arguments(uri, options)
        self._timeout = options.timeout
        self._loop = options.loop
        self._max_pixels = MAX_PIXELS if options.max_pixels is None else options.max_pixels
        limit_allocations(self._av, self._max_pixels)
        self._reading = threading.Lock()
        self._closed = False
        self._sequence = 0
        self._offset = self._position = 0.0
        self._open()

    def read(self) -> CapturedFrame:
        try:
            with self._reading:
                return self._read()
        finally:
            if self._closed:
                self._free()

    def close(self) -> None:
        self._closed = True
        self._free()

    def _open(self) -> None:
        if isinstance(self._parsed, PathUri) and not os.path.isfile(self._target):
            self._fail("no such file", "Check the path.")
        error_type = self._av.error.FFmpegError
        try:
            self._container: InputContainer = self._av.open(
                self._target,
                format=self._format,
                options=self._options,
                timeout=(self._timeout, self._timeout),
            )
        except (error_type, OSError, ValueError) as error:
            self._explain(error)
        video: VideoStream | None = next(iter(self._container.streams.video), None)
        if video is None or video.codec_context is None:
            self._container.close()
            self._fail(
                "no video" if video is None else "an unknown codec",
                "Use H.264, H.265 or MJPEG video.",
            )
        # Frame threading would delay each frame; slice threading does not.
        video.thread_type = "SLICE"
        names = self._container.format.name.split(",")
        self.live = not isinstance(self._parsed, PathUri)
        self._has_clock = "mpjpeg" not in names  # its timestamps are invented by FFmpeg
        self._first: float | None = None
        self._video = video
        # All streams: PyAV would look for a packet of one stream for ever, among those of the others.
        self._packets: Iterator[Any] = self._container.demux()
        self._frames: deque[av.VideoFrame] = deque()
        self._converter = self._av.video.reformatter.VideoReformatter()
        self._waited = time.monotonic()
        self._skipping = False

    def _read(self) -> CapturedFrame:
        began = time.monotonic()
        while not self._frames:
            if self._closed:
                self._lose("a closed source")
            if time.monotonic() - began > self._timeout:
                self._lose(f"no frame for {self._timeout:g} s")
            packet = self._next_packet()
            if packet is None:
                self._end()
            elif packet.stream is self._video and not self._skips(packet):
                self._decode(packet)
        return self._captured(self._frames.popleft())

    def _next_packet(self) -> Any:
        asked = time.monotonic()
        try:
            packet = next(self._packets, None)
        except self._av.error.FFmpegError as error:
            if time.monotonic() - asked > 0.9 * self._timeout:
                self._lose(f"no data for {self._timeout:g} s")
            self._lose(error.strerror or type(error).__name__)
        now = time.monotonic()
        # RTSP then returns its last packet, or the end, instead of an error
        if now - asked > 0.9 * self._timeout:
            self._lose(f"no data for {self._timeout:g} s")
        if now - asked > _WAITED:
            self._waited = now
        return packet

    def _skips(self, packet: Any) -> bool:
        if not self.live or not packet.size:
            return False
        caught_up = time.monotonic() - self._waited < _BEHIND
        if self._skipping:
            self._skipping = not (packet.is_keyframe and caught_up)
        else:
            self._skipping = not caught_up
        self.skipped += self._skipping
        return self._skipping

    def _decode(self, packet: Any) -> None:
        try:
            self._frames.extend(packet.decode())
        except (self._av.error.FFmpegError, MemoryError):
            context = packet.stream.codec_context
            self._check_size(context.width, context.height)
            # Before the first key frame nothing can be decoded; that is not damage.
            self.decode_errors += bool(self._sequence)

    def _end(self) -> None:
        """Handle the end of the packets: restart, or raise what it means for this kind of source."""
        if self.live:
            self._lose("the end of the stream")
        if not self._sequence:
            self._fail("no frame that can be decoded", "Check that the file is complete.")
        if not self._loop:
            raise EndOfSource
        rate = self._container.streams.video[0].average_rate
        self._offset += self._position + (1 / float(rate) if rate else 0.04)
        self._container.close()
        self._open()

    def _captured(self, frame: av.VideoFrame) -> CapturedFrame:
        self._check_size(frame.width, frame.height)
        source_time = None
        if self._has_clock and frame.time is not None:
            self._first = frame.time if self._first is None else self._first
            self._position = frame.time - self._first
            source_time = self._offset + self._position
        moment = time.monotonic()
        wall = time.time()
        pixels = self._converter.reformat(frame, format="bgr24", threads=1).to_ndarray()
        sequence = self._sequence
        self._sequence = self._sequence + 1
        return CapturedFrame(pixels, "bgr", moment, wall, source_time, sequence)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            self._lose(f"a frame of {width} x {height}, more than max_pixels ({self._max_pixels})")

    def _free(self) -> None:
        # While another thread reads, FFmpeg must not be freed: that thread frees it afterwards.
        if self._reading.acquire(blocking=False):
            try:
                self._frames.clear()
                self._container.close()
            finally:
                self._reading.release()

    def _explain(self, error: Exception) -> NoReturn:
        # Never str(error): it contains the URL with its credentials.
        text = getattr(error, "strerror", None) or type(error).__name__
        denied = (
            self._av.error.HTTPUnauthorizedError,
            self._av.error.HTTPForbiddenError,
            PermissionError,
        )
        if isinstance(error, denied):
            raise errors.SourceDeniedError(
                self.uri, "access", text, "Check the user name, password and permissions."
            ) from None
        if isinstance(error, (self._av.error.ExitError, TimeoutError)):
            text = f"no answer for {self._timeout:g} s"
        hints = {
            PathUri: "Check that it is a video file.",
            DeviceUri: "Check that the camera is connected and not in use.",
            NetworkUri: "Check the address, and that the camera is on; a redirect is not followed.",
        }
        hint = hints[type(self._parsed)]
        if isinstance(self._parsed, NetworkUri) and self._options.get("tls_verify") == "1":
            if getattr(error, "errno", None) == errno.EIO:  # all that FFmpeg says of a certificate
                text += ", perhaps because of its certificate"
            hint += " Its certificate must be trusted, or be in ca; insecure accepts any."
        self._fail(text, hint)

    def _fail(self, got: str, hint: str) -> NoReturn:
        raise errors.SourceOpenError(self.uri, "a video stream", got, hint) from None

    def _lose(self, got: str) -> NoReturn:
        raise lost(self.uri, got) from None


def load_av(uri: PathUri | NetworkUri | DeviceUri) -> Any:
    """Import PyAV. Raises MissingPartError, which names ``uri``."""
    with errors.needed(uri.redacted(), "PyAV", "cameras"):
        import av
        import av.video.reformatter
    return av
