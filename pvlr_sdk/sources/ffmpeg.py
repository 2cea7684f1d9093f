"""Videos, network cameras and V4L2 devices, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from .. import errors
from .captured import CapturedFrame, EndOfSource
from .uri import DeviceUri, NetworkUri, PathUri

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

_BEHIND = 0.5
"""Seconds in which decoding never had to wait for the source: it has fallen behind, and what queues up grows old."""

_WAITED = 0.002
"""Seconds that the next packet took, so that it can't have been waiting."""


class FFmpegSource:
    """Frames in BGR from anything that FFmpeg opens.

    A live source that can't be decoded as fast as it sends is left undecoded up to its next key frame: it loses frames
    instead of growing late.

    Args:
        uri: a file, a network stream or a V4L2 device.
        transport: ``tcp`` or ``udp``, for RTSP.
        timeout: seconds without a frame after which it counts as lost; also for each step of the connection.
        loop: begin again at a file's end.

    Raises: what :func:`pvlr_sdk.open_source` raises.
    """

    def __init__(self, uri: PathUri | NetworkUri | DeviceUri, transport: str, timeout: float, loop: bool) -> None:
        self.uri = uri.redacted()
        self.decode_errors = self.skipped = 0
        self._av = load_av(self.uri)
        self._parsed = uri
        self._target, self._format, self._options = _how_to_open(uri, transport)
        self._timeout = timeout
        self._loop = loop
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
                self._target, format=self._format, options=self._options, timeout=(self._timeout, self._timeout)
            )
        except (error_type, OSError, ValueError) as error:
            self._explain(error)
        video: VideoStream | None = next(iter(self._container.streams.video), None)
        if video is None or video.codec_context is None:
            self._container.close()
            self._fail(
                "none" if video is None else "a codec that this FFmpeg lacks", "H.264, H.265 and MJPEG always work."
            )
        # Decoding several frames at once would hold each one back; several slices of one frame it may.
        video.thread_type = "SLICE"
        names = self._container.format.name.split(",")
        self.live = not isinstance(self._parsed, PathUri) and "hls" not in names
        self._has_clock = "mpjpeg" not in names  # its timestamps are made up
        self._first: float | None = None
        self._packets: Iterator[Any] = self._container.demux(video)
        self._frames: deque[av.VideoFrame] = deque()
        self._converter = self._av.video.reformatter.VideoReformatter()
        self._waited = time.monotonic()
        self._skipping = False

    def _read(self) -> CapturedFrame:
        began = time.monotonic()
        while not self._frames:
            if self._closed:
                self._lose("a closed one")
            if time.monotonic() - began > self._timeout:
                self._lose(f"no picture for {self._timeout:g} s")
            packet = self._next_packet()
            if packet is None:
                self._end()
            elif not self._skips(packet):
                self._decode(packet)
        return self._captured(self._frames.popleft())

    def _next_packet(self) -> Any:
        asked = time.monotonic()
        try:
            packet = next(self._packets, None)
        except (self._av.error.FFmpegError, OSError) as error:
            if time.monotonic() - asked > 0.9 * self._timeout:
                self._lose(f"no data for {self._timeout:g} s")
            self._lose(error.strerror or type(error).__name__)
        now = time.monotonic()
        if now - asked > 0.9 * self._timeout:  # RTSP gives its last packet then, or the end, instead of an error
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
        except self._av.error.FFmpegError:
            # Before the first key frame nothing can be decoded, which is no damage.
            self.decode_errors += bool(self._sequence)

    def _end(self) -> None:
        """The packets have ended: begin again, or raise what it means for this kind of source."""
        if self.live:
            self._lose("the end of the stream")
        if not self._sequence:
            self._fail("no frame that can be decoded", "Is the file complete?")
        if not self._loop:
            raise EndOfSource
        rate = self._container.streams.video[0].average_rate
        self._offset += self._position + (1 / float(rate) if rate else 0.04)
        self._container.close()
        self._open()

    def _captured(self, frame: av.VideoFrame) -> CapturedFrame:
        source_time = None
        if self._has_clock and frame.time is not None:
            self._first = frame.time if self._first is None else self._first
            self._position = frame.time - self._first
            source_time = self._offset + self._position
        moment, wall = time.monotonic(), time.time()
        pixels = self._converter.reformat(frame, format="bgr24", threads=1).to_ndarray()
        sequence, self._sequence = self._sequence, self._sequence + 1
        return CapturedFrame(pixels, "bgr", moment, wall, source_time, sequence)

    def _free(self) -> None:
        # While another thread reads, FFmpeg must not be freed under it: that thread does it afterwards.
        if self._reading.acquire(blocking=False):
            try:
                self._frames.clear()
                self._container.close()
            finally:
                self._reading.release()

    def _explain(self, error: Exception) -> NoReturn:
        # Never str(error): it holds the URL with its credentials.
        text = getattr(error, "strerror", None) or type(error).__name__
        denied = self._av.error.HTTPUnauthorizedError, self._av.error.HTTPForbiddenError, PermissionError
        if isinstance(error, denied):
            raise errors.SourceDeniedError(
                self.uri, expected="to be let in", got=text, hint="Check user name, password and permissions."
            ) from None
        if isinstance(error, self._av.error.ExitError):
            text = f"no answer for {self._timeout:g} s"
        hints = {PathUri: "Is it a video?", DeviceUri: "Is the camera connected?", NetworkUri: "Is the camera on?"}
        raise errors.SourceOpenError(
            self.uri, expected="a stream of pictures", got=text, hint=hints[type(self._parsed)]
        ) from None

    def _fail(self, got: str, hint: str) -> NoReturn:
        raise errors.SourceOpenError(self.uri, expected="a stream of pictures", got=got, hint=hint)

    def _lose(self, got: str) -> NoReturn:
        raise errors.SourceLostError(self.uri, expected="the next frame", got=got, hint="Open it again.") from None


def load_av(uri: str) -> Any:
    """PyAV; ``uri`` is named in the MissingPartError if it isn't installed."""
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise errors.MissingPartError(
            uri, expected="PyAV", got=str(error), hint='Install it with pip install "pvlr-sdk[cameras]".'
        ) from error
    return av


def _how_to_open(uri: PathUri | NetworkUri | DeviceUri, transport: str) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg wants to hear: name, format and options."""
    if isinstance(uri, PathUri):
        return uri.path, None, {}
    if isinstance(uri, DeviceUri):
        options = {"framerate": f"{uri.fps:g}"} if uri.fps else {}
        if uri.size:
            options["video_size"] = f"{uri.size[0]}x{uri.size[1]}"
        return uri.device, "v4l2", options
    # Not fflags=nobuffer: it throws the packets of the probe away, and with them the first key frame. A short probe,
    # which doesn't measure the frame rate, delays nothing either.
    options = {"flags": "low_delay", "fpsprobesize": "0", "probesize": "1000000", "analyzeduration": "1000000"}
    if uri.scheme.startswith("rtsp"):
        options |= {
            "rtsp_transport": transport,
            "allowed_media_types": "video",
            "max_delay": "100000",  # microseconds that UDP waits for a packet out of order; the default is 0.7 s
            "buffer_size": "4194304",  # of the UDP socket: a key frame comes in one burst
        }
    return uri.url, None, options
