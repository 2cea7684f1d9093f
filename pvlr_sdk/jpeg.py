"""What a JPEG's header tells without decoding it: its size, and where its compressed data begin."""

from __future__ import annotations

from collections.abc import Iterator

_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of a frame header, SOF0 to SOF15; the three left out are something else (ITU T.81, table B.1)."""


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG does."""
    return data.startswith(b"\xff\xd8\xff")


def is_complete(data: bytes) -> bool:
    """Whether a JPEG has its end mark; some decoders fill the rows missing from a cut one with grey and say nothing."""
    # Compressed data never contains the mark, but a thumbnail in the header does: look behind the header.
    start = next((position for marker, position in _segments(data) if marker == _SCAN), len(data))
    return data.rfind(b"\xff\xd9", start) >= 0


def size(data: bytes) -> tuple[int, int] | None:
    """Height and width in pixels as they are stored, before any EXIF rotation; None without a frame header."""
    for marker, position in _segments(data):
        if marker in _FRAMES and position + 9 <= len(data):
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
    return None


def reduction(data: bytes, least_size: tuple[int, int]) -> int:
    """8, 4 or 2 if decoding at that fraction leaves at least ``least_size`` (height, width), else 1.

    A decoder with scaled transforms gets there without computing the pixels that a resize would average away.
    """
    stored = size(data)
    if stored is None:
        return 1
    # Of the shorter and the longer sides, since EXIF may still swap height and width.
    room = min(min(stored) // max(least_size), 8)
    return next(factor for factor in (8, 4, 2, 1) if factor <= max(room, 1))


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of each header segment, the first scan being the last."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding before a marker
            position += 1
            continue
        yield marker, position
        if marker == _SCAN:
            return
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
