"""Any GStreamer pipeline, and Jetson's CSI cameras, through GStreamer's own Python bindings."""

from __future__ import annotations

import math
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...frames.frames import Order
from .source import CapturedFrame, EndOfSource, SourceOptions, lost
from .uri import HIDDEN, DeviceUri, reject

_ORDERS: dict[str, Order] = {"BGR": "bgr", "RGB": "rgb", "GRAY8": "gray", "NV12": "nv12"}
_LIKE_BT709 = ("bt709", "smpte240m", "bt2020")
_SINK = f'appsink name=pvlr sync=false max-buffers=1 caps="video/x-raw,format=(string){{{",".join(_ORDERS)}}}"'
_SLICE = 0.1
"""Seconds between two checks of a waiting ``read`` for ``close``."""


@dataclass(frozen=True, slots=True)
class PipelineUri:
    """A GStreamer pipeline without its sink."""

    scheme: ClassVar[str] = "gst"
    pipeline: str = field(repr=False)

    def redacted(self) -> str:
        """The names of its elements, without their properties."""
        unquoted = re.sub(r'"[^"]*"|\'[^\']*\'', HIDDEN, self.pipeline)
        if '"' in unquoted or "'" in unquoted:
            return f"gst:{HIDDEN}"
        elements = (element.split() for element in unquoted.split("!"))
        names = (
            words[0] if words and re.fullmatch(r"\w+", words[0]) else HIDDEN for words in elements
        )
        return f"gst:{' ! '.join(names)}"


def parse(uri: str, scheme: str, pipeline: str) -> PipelineUri:
    """Parse ``gst:PIPELINE``."""
    if not pipeline.strip():
        reject(
            uri, "a pipeline after gst:", "nothing", "For example gst:videotestsrc ! videoconvert."
        )
    return PipelineUri(pipeline.strip())


class GStreamerSource:
    """Frames from a pipeline, in whichever of BGR, RGB, NV12 and gray it delivers.

    Args:
        uri: a pipeline without its sink, or a CSI camera.
        options: see :func:`pvlr_sdk.open_source`; the timeout also limits the wait for the first frame. Without
            ``max_pixels`` there is no limit, as the pipeline is this machine's own.

    Raises:
        SourceOpenError: the pipeline cannot be parsed or started, or an element is not installed.
        MissingPartError: GStreamer's Python bindings are not installed.
    """

    def __init__(self, uri: PipelineUri | DeviceUri, options: SourceOptions) -> None:
        self.uri = uri.redacted()
        self.decode_errors = self.skipped = 0
        self._gst, self._video = load_gstreamer(uri)
        self._timeout = options.timeout
        self._max_pixels = math.inf if options.max_pixels is None else options.max_pixels
        self._closed = threading.Event()
        self._sequence = 0
        self._first: int | None = None
        gst = self._gst
        try:
            self._pipeline = gst.parse_launch(f"{pipeline_of(uri)} ! {_SINK}")
        except Exception:  # GLib.Error; its message may quote the pipeline
            self._fail("one with a syntax error, or an element that is not installed")
        self._sink = self._pipeline.get_by_name("pvlr")
        self._bus = self._pipeline.get_bus()
        # A pipeline that delivers no frame while it is paused is live.
        paused = self._pipeline.set_state(gst.State.PAUSED)
        if paused == gst.StateChangeReturn.ASYNC:
            paused = self._pipeline.get_state(int(self._timeout * gst.SECOND))[0]
        if paused not in (gst.StateChangeReturn.SUCCESS, gst.StateChangeReturn.NO_PREROLL):
            reason = self._error() or f"one that does not start within {self._timeout:g} s"
            self._pipeline.set_state(gst.State.NULL)
            self._fail(reason)
        self.live = paused == gst.StateChangeReturn.NO_PREROLL
        self._sink.set_property("drop", self.live)
        self._pipeline.set_state(gst.State.PLAYING)

    def read(self) -> CapturedFrame:
        end = time.monotonic() + self._timeout
        while True:
            if self._closed.is_set():
                self._lose("a closed source")
            sample = self._sink.emit("try-pull-sample", int(_SLICE * self._gst.SECOND))
            if sample is not None:
                return self._captured(sample)
            if self._sink.get_property("eos") and not self.live:
                raise EndOfSource
            reason = "the end of the stream" if self._sink.get_property("eos") else self._error()
            if reason is None and time.monotonic() > end:
                reason = f"no frame for {self._timeout:g} s"
            if reason is not None:
                self._lose(reason)

    def close(self) -> None:
        self._closed.set()
        self._pipeline.set_state(self._gst.State.NULL)

    def _captured(self, sample: Any) -> CapturedFrame:
        moment = time.monotonic()
        wall = time.time()
        buffer = sample.get_buffer()
        info = self._video.VideoInfo.new_from_caps(sample.get_caps())
        if info.width * info.height > self._max_pixels:
            self._lose(
                f"a frame of {info.width} x {info.height}, more than max_pixels ({self._max_pixels})"
            )
        mapped, data = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            self._lose("an unreadable frame")
        try:
            if data.size < info.size:
                self._lose("an incomplete frame")
            pixels, order = _pixels(data.data, info)
        finally:
            buffer.unmap(data)
        source_time = None
        if buffer.pts != self._gst.CLOCK_TIME_NONE:
            self._first = buffer.pts if self._first is None else self._first
            source_time = (buffer.pts - self._first) / self._gst.SECOND
        sequence = self._sequence
        self._sequence = self._sequence + 1
        return CapturedFrame(pixels, order, moment, wall, source_time, sequence)

    def _error(self) -> str | None:
        """The error that the pipeline reported, without the details and quotes that may contain credentials."""
        message = self._bus.pop_filtered(self._gst.MessageType.ERROR)
        if message is None:
            return None
        return re.sub(r'"(?!\w+")[^"]*"?|\S*://\S*', HIDDEN, str(message.parse_error()[0].message))

    def _fail(self, got: str) -> NoReturn:
        raise errors.SourceOpenError(
            self.uri, "a pipeline", got, "Test the pipeline with gst-launch-1.0 and a fakesink."
        ) from None

    def _lose(self, got: str) -> NoReturn:
        raise lost(self.uri, got) from None


def pipeline_of(uri: PipelineUri | DeviceUri) -> str:
    """The pipeline up to raw video in system memory."""
    if isinstance(uri, PipelineUri):
        return f"{uri.pipeline} ! videoconvert"
    caps = "video/x-raw(memory:NVMM)"
    if uri.size:
        caps += f",width={uri.size[0]},height={uri.size[1]}"
    if uri.fps:
        caps += f",framerate={round(uri.fps * 1000)}/1000"
    # NV12 is the camera's own format: nothing has to be converted.
    return f"nvarguscamerasrc sensor-id={uri.device} ! {caps} ! nvvidconv ! video/x-raw,format=NV12"


def _pixels(data: bytes | memoryview, info: Any) -> tuple[NDArray[np.uint8], Order]:
    """A copy of a mapped buffer without row padding, and its order."""
    order = _ORDERS[info.finfo.name]
    flat = np.frombuffer(data, np.uint8)

    def plane(index: int, rows: int, row_bytes: int) -> NDArray[np.uint8]:
        stride = info.stride[index]
        offset = info.offset[index]
        return flat[offset : offset + rows * stride].reshape(rows, stride)[:, :row_bytes]

    if order == "nv12":
        luma = plane(0, info.height, info.width)
        chroma = plane(1, info.height // 2, info.width)
        return np.concatenate([luma, chroma]), cast(Order, order + _color_suffix(info.colorimetry))
    if order == "gray":
        return plane(0, info.height, info.width).copy(), order
    return plane(0, info.height, 3 * info.width).copy().reshape(info.height, info.width, 3), order


def _color_suffix(colorimetry: Any) -> str:
    """The matrix and the range as :mod:`pvlr_sdk.frames.yuv` names them; for another matrix, the nearer of the two.

    Caps without a colorimetry have that of the size, which GStreamer fills in: BT.709 above 576 rows.
    """
    matrix = "-bt709" if colorimetry.matrix.value_nick in _LIKE_BT709 else ""
    return matrix + ("-full" if colorimetry.range.value_nick == "0-255" else "")


def load_gstreamer(uri: PipelineUri | DeviceUri) -> tuple[Any, Any]:
    """Import GStreamer and its video module. Raises MissingPartError, which names ``uri``."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import Gst, GstVideo
    except (ImportError, ValueError) as error:
        raise errors.MissingPartError(
            uri.redacted(),
            "GStreamer's Python bindings",
            str(error),
            "Install python3-gi and gir1.2-gst-plugins-base-1.0 with apt and use the system's Python, "
            "or pip install PyGObject.",
        ) from error
    Gst.init(None)
    return Gst, GstVideo
