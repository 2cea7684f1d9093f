"""The grammar of what can be opened: one line of text names any camera, stream or file.

    photo.jpg  clip.mp4  folder/  file:///srv/clip.mp4     a path
    rtsp://user:password@host:554/path  rtsps://...        a network camera
    http://host/stream  https://host/live.m3u8             MJPEG, HLS
    v4l2:///dev/video0  0                                  a camera of this machine, by device or number
    csi://0                                                a Jetson's camera connector
    gst:PIPELINE                                           any GStreamer pipeline that ends in raw video
    test://?fps=30&size=1920x1080                          a moving pattern

``v4l2`` and ``csi`` take ``?size=1920x1080&fps=30``; the pattern has more (:class:`PatternUri`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias
from urllib.parse import unquote

from .. import errors

HIDDEN = "***"
MAX_SIDE = 16384


@dataclass(frozen=True, slots=True)
class PathUri:
    """A picture, a video or a folder of pictures."""

    path: str

    def redacted(self) -> str:
        """The path."""
        return self.path


@dataclass(frozen=True, slots=True)
class NetworkUri:
    """A stream at an address. ``url`` goes to the decoder as it was given, with its credentials."""

    scheme: str
    host: str
    url: str = field(repr=False)

    def redacted(self) -> str:
        """The URL without user, password and the values after each ``=``, which may be tokens."""
        return _redacted_url(self.url)


@dataclass(frozen=True, slots=True)
class DeviceUri:
    """A camera of this machine: ``scheme`` is ``v4l2`` or ``csi``, ``device`` its path or its number.

    ``size`` is (width, height); None and an ``fps`` of None leave the choice to the driver.
    """

    scheme: str
    device: str
    size: tuple[int, int] | None = None
    fps: float | None = None

    def redacted(self) -> str:
        """The URI in full."""
        return f"{self.scheme}://{self.device}"


@dataclass(frozen=True, slots=True)
class PipelineUri:
    """A GStreamer pipeline; the source adds an ``appsink`` where it doesn't end in one."""

    pipeline: str = field(repr=False)

    def redacted(self) -> str:
        """The names of its elements, without their properties."""
        unquoted = re.sub(r'"[^"]*"|\'[^\']*\'', HIDDEN, self.pipeline)
        if '"' in unquoted or "'" in unquoted:
            return f"gst:{HIDDEN}"
        elements = (part.split() for part in unquoted.split("!"))
        names = (words[0] if words and re.fullmatch(r"\w+", words[0]) else HIDDEN for words in elements)
        return f"gst:{' ! '.join(names)}"


@dataclass(frozen=True, slots=True)
class PatternUri:
    """Moving shapes, made here: for trying things out, for tests and for measurements.

    ``frames`` ends it after so many. From frame ``freeze_after`` on none comes any more, as from a camera that hangs;
    from frame ``resize_after`` on the picture has half the size.
    """

    size: tuple[int, int] = (1280, 720)
    fps: float = 30.0
    frames: int | None = None
    seed: int = 0
    freeze_after: int | None = None
    resize_after: int | None = None

    def redacted(self) -> str:
        """A short form."""
        return f"test://?size={self.size[0]}x{self.size[1]}&fps={self.fps:g}&seed={self.seed}"


SourceUri: TypeAlias = PathUri | NetworkUri | DeviceUri | PipelineUri | PatternUri


def parse_uri(uri: str) -> SourceUri:
    """What a line of text names; nothing is opened.

    Raises:
        SourceUriError: it follows no form of the grammar. The message never holds credentials.
    """
    if not isinstance(uri, str) or not uri.strip():
        _reject(uri, "the name of a source", "nothing", "See docs/cameras.md for the forms.")
    if not uri.isprintable():
        _reject(uri, "printable characters", "a control character", "Is there a line break in it?")
    if uri.isascii() and uri.isdigit():
        return DeviceUri("v4l2", f"/dev/video{_whole(uri, 'device', uri, 0, 9999)}")
    if uri.startswith("gst:"):
        pipeline = uri[4:].strip()
        if not pipeline:
            _reject(uri, "a pipeline after gst:", "none", "For example gst:videotestsrc ! videoconvert.")
        return PipelineUri(pipeline)
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return PathUri(uri)
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        hint = f"Known are {', '.join(f'{name}://' for name in _SCHEMES)}, gst:, a number, or a path."
        known = scheme if re.fullmatch(r"[a-z0-9+.-]{1,20}", scheme) else HIDDEN
        _reject(uri, "a known scheme", f"{known}://", hint)
    return _SCHEMES[scheme](uri, scheme, rest)


def redacted(uri: str) -> str:
    """A URI as it may be shown: without credentials, and whatever can't be parsed is hidden."""
    try:
        return parse_uri(uri).redacted()
    except errors.SourceUriError:
        return HIDDEN


def _redacted_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    # The last @ of all: an unescaped password may hold any character, even those that end an address.
    credentials, at, address = rest.rpartition("@")
    shown = re.sub(r"=[^&/]*", f"={HIDDEN}", address.partition("#")[0])
    return f"{scheme}://{HIDDEN if credentials else ''}{at}{shown}"


def _file(uri: str, scheme: str, rest: str) -> SourceUri:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not path:
        _reject(uri, "file:///path", "none", "A file of this machine has three slashes: file:///srv/clip.mp4.")
    return PathUri(unquote(slash + path))


def _network(uri: str, scheme: str, rest: str) -> SourceUri:
    address = re.split(r"[/?#]", rest.rpartition("@")[2], maxsplit=1)[0]
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]@]+)(?::(\d{1,5}))?", address, re.ASCII)
    if " " in rest:
        _reject(uri, "a URL without spaces", "one", "Write a space as %20.")
    if not match or not 0 < int(match[2] or 1) < 65536:
        hint = f"For example {scheme}://192.168.1.20/stream; in a password write @ as %40, / as %2F, : as %3A."
        _reject(uri, f"{scheme}://host[:port]/path", "an address that is none", hint)
    return NetworkUri(scheme, match[1], f"{scheme}://{rest}")


def _device(uri: str, scheme: str, rest: str) -> SourceUri:
    device, _, query = rest.partition("?")
    pattern, example = (
        (r"/dev/(?!.*\.\.)[\w/:.-]+", "v4l2:///dev/video0") if scheme == "v4l2" else (r"\d{1,2}", "csi://0")
    )
    if not re.fullmatch(pattern, device, re.ASCII):
        _reject(uri, example, "another form", "Options follow as ?size=1920x1080&fps=30.")
    options = _options(uri, query, {"size": _size, "fps": _rate})
    return DeviceUri(scheme, device, options.get("size"), options.get("fps"))


def _pattern(uri: str, scheme: str, rest: str) -> SourceUri:
    name, _, query = rest.partition("?")
    if name.strip("/"):
        _reject(uri, "test://?option=value&...", "a name", "The pattern has options only, such as test://?fps=30.")
    counts = dict.fromkeys(("frames", "seed", "freeze_after", "resize_after"), _count)
    return PatternUri(**_options(uri, query, {"size": _size, "fps": _rate, **counts}))


_SCHEMES: Mapping[str, Callable[[str, str, str], SourceUri]] = {
    "file": _file,
    "rtsp": _network,
    "rtsps": _network,
    "http": _network,
    "https": _network,
    "v4l2": _device,
    "csi": _device,
    "test": _pattern,
}


def _options(uri: str, query: str, known: Mapping[str, Callable[[str, str, str], Any]]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in query.split("&") if query else []:
        name, equals, value = pair.partition("=")
        if name not in known or not equals or name in options:
            got = "one twice" if name in options else "something else"
            _reject(uri, f"options {', '.join(known)}", got, "Write them as ?name=value&name=value.")
        options[name] = known[name](uri, name, value)
    return options


def _size(uri: str, name: str, value: str) -> tuple[int, int]:
    width, _, height = value.partition("x")
    return _whole(uri, name, width, 2, MAX_SIDE), _whole(uri, name, height, 2, MAX_SIDE)


def _count(uri: str, name: str, value: str) -> int:
    return _whole(uri, name, value, 0, 2**31)


def _rate(uri: str, name: str, value: str) -> float:
    rate = float(value) if re.fullmatch(r"\d{1,4}(\.\d{1,6})?", value, re.ASCII) else math.nan
    if not 0 < rate <= 1000:
        _reject(uri, f"{name} above 0, at most 1000", "something else", "For example fps=30.")
    return rate


def _whole(uri: str, name: str, value: str, least: int, most: int) -> int:
    number = int(value) if re.fullmatch(r"\d{1,10}", value, re.ASCII) else -1
    if not least <= number <= most:
        _reject(uri, f"{name} from {least} to {most}", "something else", "A size is size=1920x1080.")
    return number


def _reject(uri: Any, expected: str, got: str, hint: str) -> NoReturn:
    # The text itself isn't shown: what can't be parsed can't be cleaned of its credentials.
    name = "source" if not isinstance(uri, str) else f"source of {len(uri)} characters"
    raise errors.SourceUriError(name, expected=expected, got=got, hint=hint)
