"""Reads the format and the size of an encoded image from its header, before a decoder sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from . import jpeg


class ImageHeader(NamedTuple):
    """``format`` is one of :data:`FORMATS`; the size is in pixels as stored, before any EXIF rotation."""

    format: str
    height: int
    width: int


def read_header(data: bytes) -> ImageHeader | None:
    """The header of an image in one of :data:`FORMATS`; None: another format, or too damaged for a size.

    Where an image states several sizes, for example those of its tiles, the largest counts.
    """
    for name, (pattern, size_of) in _FORMATS.items():
        if pattern.match(data):
            size = size_of(data)
            return ImageHeader(name, *size) if size else None
    return None


def _number(data: bytes, position: int, count: int, order: str = "little") -> int:
    return int.from_bytes(data[position : position + count], "big" if order == "big" else "little")


def _png(data: bytes) -> tuple[int, int] | None:
    """PNG specification, 11.2.2: IHDR is the first chunk and holds 13 bytes."""
    if len(data) < 33 or data[8:16] != b"\0\0\0\rIHDR":
        return None
    return _number(data, 20, 4, "big"), _number(data, 16, 4, "big")


def _webp(data: bytes) -> tuple[int, int] | None:
    """RFC 9649: the canvas of the extended format, or the size of the only frame."""
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8X":
        return _number(data, 27, 3) + 1, _number(data, 24, 3) + 1
    if kind == b"VP8L":
        bits = _number(data, 21, 4)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _number(data, 28, 2) & 0x3FFF, _number(data, 26, 2) & 0x3FFF
    return None


def _gif(data: bytes) -> tuple[int, int] | None:
    """GIF89a specification, 18: the logical screen."""
    return (_number(data, 8, 2), _number(data, 6, 2)) if len(data) >= 13 else None


def _bmp(data: bytes) -> tuple[int, int] | None:
    """BITMAPCOREHEADER has 12 bytes and 16-bit sizes; a negative height means rows from the top."""
    if len(data) < 26:
        return None
    if _number(data, 14, 4) == 12:
        return _number(data, 20, 2), _number(data, 18, 2)
    width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
    return abs(height), abs(width)


_TIFF_HEIGHTS = (257, 323)
_TIFF_WIDTHS = (256, 322)
"""ImageLength and TileLength, ImageWidth and TileWidth."""
_TIFF_TYPES = {3: 2, 4: 4, 16: 8}
"""Bytes of SHORT, LONG and LONG8."""


def _tiff(data: bytes) -> tuple[int, int] | None:
    """TIFF 6.0 or BigTIFF: the first directory."""
    order = "big" if data[:2] == b"MM" else "little"
    if _number(data, 2, 2, order) == 43:
        first = _number(data, 8, 8, order)
        counter = 8
        entry = 20
        value = 12
    else:
        first = _number(data, 4, 4, order)
        counter = 2
        entry = 12
        value = 8
    tags: dict[int, int] = {}
    start = first + counter
    for position in range(
        start, start + entry * min(_number(data, first, counter, order), 0xFFFF), entry
    ):
        if position + entry > len(data):
            break
        tag = _number(data, position, 2, order)
        kind = _number(data, position + 2, 2, order)
        if tag in _TIFF_HEIGHTS + _TIFF_WIDTHS and kind in _TIFF_TYPES:
            size = _number(data, position + value, _TIFF_TYPES[kind], order)
            # decoders differ in which of two equal tags counts
            tags[tag] = max(size, tags.get(tag, 0))
    if not (tags.get(257) and tags.get(256)):
        return None
    return max(tags.get(tag, 0) for tag in _TIFF_HEIGHTS), max(
        tags.get(tag, 0) for tag in _TIFF_WIDTHS
    )


_PNM = re.compile(
    rb"P[1-6]\s(?:\s|#[^\r\n]*[\r\n])*(\d{1,10})\s(?:\s|#[^\r\n]*[\r\n])*(\d{1,10})\s"
)


def _pnm(data: bytes) -> tuple[int, int] | None:
    """netpbm: width and height in decimal, with comments between them."""
    match = _PNM.match(data[:65536])
    return (int(match[2]), int(match[1])) if match else None


_FORMATS: dict[str, tuple[re.Pattern[bytes], Callable[[bytes], tuple[int, int] | None]]] = {
    "jpeg": (re.compile(rb"\xff\xd8\xff"), jpeg.size),
    "png": (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    "webp": (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    "gif": (re.compile(rb"GIF8[79]a"), _gif),
    "bmp": (re.compile(rb"BM"), _bmp),
    "tiff": (re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    "pnm": (re.compile(rb"P[1-6]\s"), _pnm),
}
FORMATS = tuple(_FORMATS)
"""The formats that are decoded here and in isolated processes. The only other parsers that bytes reach are those of
HEIC and AVIF (:mod:`.heif`), which uploads and isolated processes refuse."""
