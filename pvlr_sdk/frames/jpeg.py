"""Reads a JPEG's header without decoding it: size, completeness, and the scale to decode at."""

from __future__ import annotations

from collections.abc import Iterator

_SCAN = 0xDA
_END = 0xD9
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
"""A stuffed zero, TEM, RST0 to RST7 and SOI have no length."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header, SOF0 to SOF15 without DHT, JPG and DAC (ITU T.81, table B.1)."""


def is_complete(data: bytes) -> bool:
    """Whether a JPEG has its end marker; some decoders silently fill the rows of a truncated one with grey."""
    # Compressed data never contains the marker, but a thumbnail in the header does: search after the header.
    start = next((position for marker, position in _segments(data) if marker == _SCAN), len(data))
    return data.rfind(b"\xff\xd9", start) >= 0


def size(data: bytes) -> tuple[int, int] | None:
    """Height and width in pixels as stored, before any EXIF rotation; None without a frame header."""
    for marker, position in _segments(data):
        if marker in _FRAMES and position + 9 <= len(data):
            height = data[position + 5 : position + 7]
            width = data[position + 7 : position + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
    return None


def is_streamed(data: bytes) -> bool:
    """Whether a decoder needs memory for a few rows only: a baseline JPEG with all components in its first scan.

    Of any other, the coefficients of the whole image are kept: up to six bytes per pixel at its full size.
    """
    frame = next(
        ((marker, position) for marker, position in _segments(data) if marker in _FRAMES), None
    )
    scan = next((position for marker, position in _segments(data) if marker == _SCAN), None)
    if frame is None or scan is None or frame[0] not in (0xC0, 0xC1):
        return False
    return data[scan + 4 : scan + 5] == data[frame[1] + 9 : frame[1] + 10]


def reduction(data: bytes, least_size: tuple[int, int]) -> int:
    """8, 4 or 2 if decoding at that fraction leaves at least ``least_size`` (height, width), else 1.

    A decoder with scaled transforms skips the pixels that a resize would average away.
    """
    stored = size(data)
    if stored is None:
        return 1
    # Compares the shorter and the longer sides, since EXIF may swap height and width.
    room = min(min(stored) // max(least_size), 8)
    return next(factor for factor in (8, 4, 2, 1) if factor <= max(room, 1))


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of each header segment, up to the first scan or the end of the image."""
    position = data.find(b"\xff", 2)  # like libjpeg, skips stray bytes before a marker
    while position >= 0 and position + 4 <= len(data):
        marker = data[position + 1]
        if marker == 0xFF:  # padding before a marker
            position += 1
            continue
        if marker == _END:
            return
        if marker not in _WITHOUT_LENGTH:
            yield marker, position
            if marker == _SCAN:
                return
            position += int.from_bytes(data[position + 2 : position + 4], "big")
        position = data.find(b"\xff", position + 2)
