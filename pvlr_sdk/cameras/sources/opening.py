"""The table of sources: from a URI to an open source."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args

from ... import errors
from . import ffmpeg, files, gstreamer, pattern
from .source import Source, SourceOptions, SourceUri, Transport
from .uri import (
    HIDDEN,
    DeviceUri,
    PathUri,
    parse_device,
    parse_network,
    parse_path,
    parse_whole,
    reject,
)


class Scheme(NamedTuple):
    """How to open the URIs of a scheme.

    Attributes:
        parse: parses ``(uri, scheme, rest)``, with the ``rest`` of ``uri`` after ``scheme://``. Raises SourceUriError.
        open: opens a parsed URI. Raises what :func:`open_source` raises.
        check: raises MissingPartError if a package that a parsed URI needs is not installed.
    """

    parse: Callable[[str, str, str], SourceUri]
    open: Callable[[Any, SourceOptions], Source]
    check: Callable[[Any], object] = lambda uri: None


_NETWORK = Scheme(parse_network, ffmpeg.FFmpegSource, ffmpeg.load_av)
SCHEMES: Mapping[str, Scheme] = {
    "file": Scheme(parse_path, files.open, files.check),
    "rtsp": _NETWORK,
    "rtsps": _NETWORK,
    "http": _NETWORK,
    "https": _NETWORK,
    "v4l2": Scheme(parse_device, ffmpeg.FFmpegSource, ffmpeg.load_av),
    "csi": Scheme(parse_device, gstreamer.GStreamerSource, gstreamer.load_gstreamer),
    "gst": Scheme(gstreamer.parse, gstreamer.GStreamerSource, gstreamer.load_gstreamer),
    "test": Scheme(pattern.parse, pattern.PatternSource),
}
"""To add a source, add a module and its line here. A module imports its decoder only to open or to check a source."""


def open_source(
    uri: str,
    *,
    transport: Transport = "tcp",
    timeout: float = 5.0,
    loop: bool = False,
    ca: str | os.PathLike[str] | None = None,
    insecure: bool = False,
    max_pixels: int | None = None,
) -> Source:
    """Open a source of frames: a camera, a stream, a video, an image or a folder of images.

    Args:
        uri: a path or one of the forms in ``docs/cameras.md``: ``rtsp://``, ``http://``, ``v4l2://``, ``csi://``,
            ``gst:``, ``test://``, the number of a camera.
        transport: ``tcp`` or ``udp``, for RTSP.
        timeout: seconds without a frame after which the source counts as lost; also limits connecting.
        loop: restart a file at its end.
        ca: a file of certificates (PEM) to trust for ``https`` and ``rtsps``, instead of the system's.
        insecure: accept any certificate. Whoever answers at the address then gets the credentials in the URI.
        max_pixels: a larger frame of a video or a camera counts as lost; None: 8192 x 4352.

    Raises:
        SourceUriError: ``uri`` matches none of the forms.
        OptionError: another argument is invalid.
        SourceOpenError: the file, device or host does not exist, or nothing in it can be decoded.
        SourceDeniedError: the credentials are wrong or missing.
        MissingPartError: PyAV or GStreamer is needed but not installed.
    """
    errors.check_choice("transport", transport, get_args(Transport), "tcp loses no packets.")
    if not (isinstance(timeout, (int, float)) and math.isfinite(timeout) and timeout > 0):
        raise errors.OptionError("timeout", "seconds above 0", repr(timeout), "The default is 5.")
    if ca is not None and not os.path.isfile(ca):
        raise errors.OptionError(
            "ca", "a file of certificates", repr(os.fspath(ca)), "Check its path."
        )
    if max_pixels is not None and not (isinstance(max_pixels, int) and 0 < max_pixels <= 2**28):
        raise errors.OptionError(
            "max_pixels",
            f"an integer from 1 to {2**28}",
            repr(max_pixels),
            "The default is 8192 x 4352.",
        )
    parsed = parse_uri(uri)
    options = SourceOptions(
        transport, timeout, loop, None if ca is None else os.fspath(ca), insecure, max_pixels
    )
    return SCHEMES[parsed.scheme].open(parsed, options)


def check_installed(uri: str) -> None:
    """Check that the packages a source needs are installed. Raises SourceUriError or MissingPartError."""
    parsed = parse_uri(uri)
    SCHEMES[parsed.scheme].check(parsed)


def parse_uri(uri: str) -> SourceUri:
    """Parse a URI. Raises SourceUriError, without credentials in its message, if it matches none of the forms."""
    if not isinstance(uri, str) or not uri.strip():
        reject(uri, "the name of a source", "nothing", "docs/cameras.md lists the forms.")
    if not uri.isprintable():
        reject(uri, "printable characters", "a control character", "Remove line breaks and tabs.")
    if uri.isascii() and uri.isdigit():
        return DeviceUri("v4l2", f"/dev/video{parse_whole(uri, 'device', uri, 0, 9999)}")
    if uri.startswith("gst:"):
        return gstreamer.parse(uri, "gst", uri[4:])
    scheme, separator, address = uri.partition("://")
    if not separator:
        return PathUri(uri)
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        schemes = (f"{name}://" for name in SCHEMES if name != "gst")
        shown = scheme if re.fullmatch(r"[a-z0-9+.-]{1,20}", scheme) else HIDDEN
        hint = f"Use {', '.join(schemes)}, gst:, the number of a camera, or a path."
        reject(uri, "a known scheme", f"{shown}://", hint)
    return SCHEMES[scheme].parse(uri, scheme, address)


def redacted(uri: str) -> str:
    """A URI without credentials, for messages and logs; a URI that cannot be parsed is hidden completely."""
    try:
        return parse_uri(uri).redacted()
    except errors.SourceUriError:
        return HIDDEN
