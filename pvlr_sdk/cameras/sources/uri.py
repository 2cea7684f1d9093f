"""The grammar of URIs: the forms that several sources share, and helpers to parse a form.

    photo.jpg  clip.mp4  folder/  file:///srv/clip.mp4     a path
    rtsp://user:password@host:554/path  rtsps://...        a network camera
    http://host/stream  https://...                        MJPEG over HTTP
    v4l2:///dev/video0  0                                  a local camera, by device or number
    csi://0                                                a Jetson's camera connector
    gst:PIPELINE                                           any GStreamer pipeline that ends in raw video
    test://?fps=30&size=1920x1080                          a moving pattern

``v4l2`` and ``csi`` take ``?size=1920x1080&fps=30``; for the pattern see :class:`.pattern.PatternUri`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn
from urllib.parse import unquote

from ... import errors

HIDDEN = "***"
MAX_SIDE = 16384


@dataclass(frozen=True, slots=True)
class PathUri:
    """An image, a video or a folder of images."""

    scheme: ClassVar[str] = "file"
    path: str

    def redacted(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class NetworkUri:
    """A stream at an address. ``url`` is passed to the decoder as given, with its credentials."""

    scheme: str
    host: str
    url: str = field(repr=False)

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted, and the server has to prove who it is."""
        return self.scheme in ("https", "rtsps")

    def redacted(self) -> str:
        """The URL without user and password, and without the values after each ``=``, which may be tokens."""
        scheme, _, after_scheme = self.url.partition("://")
        # The last @ of all: an unescaped password may contain any character, even those that end an address.
        credentials, at, address = after_scheme.rpartition("@")
        shown = re.sub(r"=[^&/]*", f"={HIDDEN}", address.partition("#")[0])
        return f"{scheme}://{HIDDEN if credentials else ''}{at}{shown}"


@dataclass(frozen=True, slots=True)
class DeviceUri:
    """A local camera: ``scheme`` is ``v4l2`` or ``csi``, ``device`` its path or its number.

    ``size`` is (width, height). If ``size`` or ``fps`` is None, the driver chooses it.
    """

    scheme: str
    device: str
    size: tuple[int, int] | None = None
    fps: float | None = None

    def redacted(self) -> str:
        return f"{self.scheme}://{self.device}"


def parse_path(uri: str, scheme: str, path_text: str) -> PathUri:
    """Parse ``file:///path``."""
    host, slash, path = path_text.partition("/")
    if host not in ("", "localhost") or not path:
        reject(
            uri,
            "file:///path",
            "another form",
            "A local file has three slashes: file:///srv/clip.mp4.",
        )
    return PathUri(unquote(slash + path))


def parse_network(uri: str, scheme: str, after_scheme: str) -> NetworkUri:
    """Parse ``scheme://[user:password@]host[:port]/path``."""
    address = re.split(r"[/?#]", after_scheme.rpartition("@")[2], maxsplit=1)[0]
    # Without & and =: after an unescaped @ in a query, its next value would be taken for the host, and shown.
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]@&=]+)(?::(\d{1,5}))?", address, re.ASCII)
    if " " in after_scheme:
        reject(uri, "a URL without spaces", "one with a space", "Write a space as %20.")
    if not match or not 0 < int(match[2] or 1) < 65536:
        hint = f"For example {scheme}://192.168.1.20/stream; in a password write @ as %40, / as %2F, : as %3A."
        reject(uri, f"{scheme}://host[:port]/path", "an invalid address", hint)
    parsed = NetworkUri(scheme, match[1], f"{scheme}://{after_scheme}")
    path = re.split(r"[?#]", after_scheme.rpartition("@")[2], maxsplit=1)[0]
    if scheme.startswith("http") and path.lower().endswith((".m3u8", ".m3u")):
        pipeline = f'gst:souphttpsrc location="{parsed.redacted()}" ! hlsdemux ! decodebin'
        reject(uri, "a stream in one file", "an HLS playlist", f"GStreamer plays it: {pipeline}")
    return parsed


def parse_device(uri: str, scheme: str, device_text: str) -> DeviceUri:
    """Parse ``v4l2:///dev/...`` or ``csi://NUMBER``, with ``size`` and ``fps`` as options."""
    device, _, query = device_text.partition("?")
    pattern, example = (
        (r"/dev/(?!.*\.\.)[\w/:.-]+", "v4l2:///dev/video0")
        if scheme == "v4l2"
        else (r"\d{1,2}", "csi://0")
    )
    if not re.fullmatch(pattern, device, re.ASCII):
        reject(uri, example, "another form", "Options follow as ?size=1920x1080&fps=30.")
    options = parse_options(uri, query, {"size": parse_size, "fps": parse_rate})
    return DeviceUri(scheme, device, options.get("size"), options.get("fps"))


def parse_options(
    uri: str, query: str, parsers: Mapping[str, Callable[[str, str, str], Any]]
) -> dict[str, Any]:
    """Parse ``name=value&name=value``; ``parsers`` maps each option to the parser of its value."""
    options: dict[str, Any] = {}
    for pair in query.split("&") if query else []:
        name, equals, value = pair.partition("=")
        if name not in parsers or not equals or name in options:
            got = "a repeated option" if name in options else "another option"
            reject(
                uri, f"options {', '.join(parsers)}", got, "Write them as ?name=value&name=value."
            )
        options[name] = parsers[name](uri, name, value)
    return options


def parse_size(uri: str, name: str, value: str) -> tuple[int, int]:
    """Parse ``WIDTHxHEIGHT``."""
    width, _, height = value.partition("x")
    return parse_whole(uri, name, width, 2, MAX_SIDE), parse_whole(uri, name, height, 2, MAX_SIDE)


def parse_rate(uri: str, name: str, value: str) -> float:
    rate = float(value) if re.fullmatch(r"\d{1,4}(\.\d{1,6})?", value, re.ASCII) else math.nan
    if not 0 < rate <= 1000:
        reject(uri, f"{name} above 0, at most 1000", "another value", "For example fps=30.")
    return rate


def parse_whole(uri: str, name: str, value: str, least: int = 0, most: int = 2**31) -> int:
    number = int(value) if re.fullmatch(r"\d{1,10}", value, re.ASCII) else -1
    if not least <= number <= most:
        reject(uri, f"{name} from {least} to {most}", "another value", "A size is size=1920x1080.")
    return number


def reject(uri: Any, expected: str, got: str, hint: str) -> NoReturn:
    """Raise SourceUriError without the text itself: credentials cannot be removed from what cannot be parsed."""
    raise errors.SourceUriError(
        "source" if not isinstance(uri, str) else f"source of {len(uri)} characters",
        expected,
        got,
        hint,
    )
