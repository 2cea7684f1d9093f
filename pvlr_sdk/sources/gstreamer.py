"""Any GStreamer pipeline, and Jetson's CSI cameras, through GStreamer's own Python bindings."""

from __future__ import annotations

import re
import threading
import time
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .captured import CapturedFrame, EndOfSource
from .uri import HIDDEN, DeviceUri, PipelineUri

_ORDERS = {"BGR": "bgr", "RGB": "rgb", "GRAY8": "gray", "NV12": "nv12"}
_SINK = f'appsink name=pvlr sync=false max-buffers=1 caps="video/x-raw,format=(string){{{",".join(_ORDERS)}}}"'
_SLICE = 0.1
"""Seconds after which a waiting ``read`` looks whether it was closed."""


class GStreamerSource:
    """Frames from a pipeline, in whichever of BGR, RGB, NV12 and grey it gives.

    Args:
        uri: a pipeline without its sink, or a CSI camera.
        timeout: seconds without a frame after which it counts as lost, also for the first one.

    Raises:
        SourceOpenError: the pipeline can't be parsed or started, or an element is not installed.
        MissingPartError: GStreamer's Python bindings are not installed.
    """

    def __init__(self, uri: PipelineUri | DeviceUri, timeout: float) -> None:
        self.uri = uri.redacted()
        self.decode_errors = self.skipped = 0
        self._gst, self._video = load_gstreamer(self.uri)
        self._timeout = timeout
        self._closed = threading.Event()
        self._sequence = 0
        self._first: int | None = None
        gst = self._gst
        try:
            self._pipeline = gst.parse_launch(f"{pipeline_of(uri)} ! {_SINK}")
        except Exception as error:  # GLib.Error; its message may quote the pipeline
            self._fail("one that can't be parsed, or an element that is not installed", error)
        self._sink = self._pipeline.get_by_name("pvlr")
        self._bus = self._pipeline.get_bus()
        # A pipeline that can't give a picture while it is paused is a live one.
        paused = self._pipeline.set_state(gst.State.PAUSED)
        if paused == gst.StateChangeReturn.ASYNC:
            paused = self._pipeline.get_state(int(timeout * gst.SECOND))[0]
        if paused not in (gst.StateChangeReturn.SUCCESS, gst.StateChangeReturn.NO_PREROLL):
            reason = self._error() or f"none that starts within {timeout:g} s"
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
                reason = f"none for {self._timeout:g} s"
            if reason is not None:
                self._lose(reason)

    def close(self) -> None:
        self._closed.set()
        self._pipeline.set_state(self._gst.State.NULL)

    def _captured(self, sample: Any) -> CapturedFrame:
        moment, wall = time.monotonic(), time.time()
        buffer, info = sample.get_buffer(), self._video.VideoInfo.new_from_caps(sample.get_caps())
        mapped, data = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            self._lose("a frame that can't be read")
        try:
            if data.size < info.size:
                self._lose("an incomplete frame")
            pixels, order = _pixels(bytes(data.data), info)
        finally:
            buffer.unmap(data)
        source_time = None
        if buffer.pts != self._gst.CLOCK_TIME_NONE:
            self._first = buffer.pts if self._first is None else self._first
            source_time = (buffer.pts - self._first) / self._gst.SECOND
        sequence, self._sequence = self._sequence, self._sequence + 1
        return CapturedFrame(pixels, order, moment, wall, source_time, sequence)

    def _error(self) -> str | None:
        """What the pipeline reported as an error; without details and quotes, which may hold a URL with credentials."""
        message = self._bus.pop_filtered(self._gst.MessageType.ERROR)
        if message is None:
            return None
        return re.sub(r'"(?!\w+")[^"]*"?|\S*://\S*', HIDDEN, str(message.parse_error()[0].message))

    def _fail(self, got: str, cause: Exception | None = None) -> NoReturn:
        raise errors.SourceOpenError(
            self.uri, expected="a pipeline", got=got, hint="Try it with gst-launch-1.0 and fakesink."
        ) from None

    def _lose(self, got: str) -> NoReturn:
        raise errors.SourceLostError(self.uri, expected="the next frame", got=got, hint="Open it again.")


def pipeline_of(uri: PipelineUri | DeviceUri) -> str:
    """The pipeline up to raw video in system memory."""
    if isinstance(uri, PipelineUri):
        return f"{uri.pipeline} ! videoconvert"
    caps = "video/x-raw(memory:NVMM)"
    if uri.size:
        caps += f",width={uri.size[0]},height={uri.size[1]}"
    if uri.fps:
        caps += f",framerate={round(uri.fps * 1000)}/1000"
    # NV12 is what the camera gives: nothing has to be converted on the way.
    return f"nvarguscamerasrc sensor-id={uri.device} ! {caps} ! nvvidconv ! video/x-raw,format=NV12"


def _pixels(data: bytes, info: Any) -> tuple[NDArray[np.uint8], str]:
    """A mapped buffer as an array without the padding of its rows, and its order."""
    order = _ORDERS[info.finfo.name]
    flat = np.frombuffer(data, np.uint8)

    def plane(index: int, rows: int, row_bytes: int) -> NDArray[np.uint8]:
        stride, offset = info.stride[index], info.offset[index]
        return flat[offset : offset + rows * stride].reshape(rows, stride)[:, :row_bytes]

    if order == "nv12":
        luma, chroma = plane(0, info.height, info.width), plane(1, info.height // 2, info.width)
        return np.concatenate([luma, chroma]), order
    if order == "gray":
        return np.ascontiguousarray(plane(0, info.height, info.width)), order
    return np.ascontiguousarray(plane(0, info.height, 3 * info.width)).reshape(info.height, info.width, 3), order


def load_gstreamer(uri: str) -> tuple[Any, Any]:
    """GStreamer and its video part; ``uri`` is named in the MissingPartError if they aren't installed."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import Gst, GstVideo
    except (ImportError, ValueError) as error:
        raise errors.MissingPartError(
            uri,
            expected="GStreamer's Python bindings",
            got=str(error),
            hint="apt install python3-gi gir1.2-gst-plugins-base-1.0, and use that Python (or pip install PyGObject).",
        ) from error
    Gst.init(None)
    return Gst, GstVideo
