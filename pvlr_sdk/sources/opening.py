"""From a URI to an open source."""

from __future__ import annotations

import math
import os
from typing import TypeGuard

from .. import errors
from .captured import Source
from .files import IMAGES
from .uri import DeviceUri, NetworkUri, PathUri, PatternUri, PipelineUri, SourceUri, parse_uri

TRANSPORTS = ("tcp", "udp")


def open_source(uri: str, *, transport: str = "tcp", timeout: float = 5.0, loop: bool = False) -> Source:
    """An open source of frames: a camera, a stream, a video, a picture or a folder of pictures.

    Args:
        uri: a path or one of the forms in ``docs/cameras.md``: ``rtsp://``, ``http://``, ``v4l2://``, ``csi://``,
            ``gst:``, ``test://``, the number of a camera.
        transport: ``tcp`` or ``udp``, for RTSP.
        timeout: seconds without a frame after which the source counts as lost; also for the connection itself.
        loop: begin again at a file's end.

    Raises:
        SourceUriError: ``uri`` follows no form.
        OptionError: another argument can't be.
        SourceOpenError: there is no such file, device or host, or nothing in it can be decoded.
        SourceDeniedError: the credentials are wrong or missing.
        MissingPartError: PyAV or GStreamer is needed and not installed.
    """
    if transport not in TRANSPORTS:
        expected = f"one of {', '.join(TRANSPORTS)}"
        raise errors.OptionError("transport", expected=expected, got=repr(transport), hint="tcp loses no packets.")
    if not (isinstance(timeout, (int, float)) and math.isfinite(timeout) and timeout > 0):
        raise errors.OptionError("timeout", expected="seconds above 0", got=repr(timeout), hint="5 is the default.")
    parsed = parse_uri(uri)
    if isinstance(parsed, PatternUri):
        from .pattern import PatternSource

        return PatternSource(parsed, timeout)
    if _is_pictures(parsed):
        from .pictures import PictureSource

        return PictureSource(parsed, loop)
    if _needs_gstreamer(parsed):
        from .gstreamer import GStreamerSource

        return GStreamerSource(parsed, timeout)
    from .ffmpeg import FFmpegSource

    assert isinstance(parsed, (PathUri, NetworkUri, DeviceUri))
    return FFmpegSource(parsed, transport, timeout, loop)


def check_parts(uri: str) -> None:
    """Check that what reads such a source is installed, without opening it.

    Raises:
        SourceUriError: ``uri`` follows no form.
        MissingPartError: PyAV or GStreamer is needed and not installed.
    """
    parsed = parse_uri(uri)
    if _needs_gstreamer(parsed):
        from .gstreamer import load_gstreamer

        load_gstreamer(parsed.redacted())
    elif not isinstance(parsed, PatternUri) and not _is_pictures(parsed):
        from .ffmpeg import load_av

        load_av(parsed.redacted())


def _needs_gstreamer(parsed: SourceUri) -> TypeGuard[PipelineUri | DeviceUri]:
    return isinstance(parsed, PipelineUri) or (isinstance(parsed, DeviceUri) and parsed.scheme == "csi")


def _is_pictures(parsed: SourceUri) -> TypeGuard[PathUri]:
    return isinstance(parsed, PathUri) and (os.path.isdir(parsed.path) or _is_image(parsed.path))


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGES
