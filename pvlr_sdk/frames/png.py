"""Reduces a PNG to the chunks of its still image before it is decoded."""

from __future__ import annotations

_FIRST = 8
"""Bytes of the signature."""
_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"})
"""The chunks that decide on pixels and orientation. Those of an animation (acTL, fcTL, fdAT) crash OpenCV, and the
compressed profiles and texts are work for a decoder that does not use them."""


def still_image(data: bytes) -> bytes | None:
    """The PNG with the chunks of its still image only, and without bytes after its end; None: it ends early."""
    kept: list[tuple[int, int]] = []
    position = start = _FIRST
    while (end := position + 12 + int.from_bytes(data[position : position + 4], "big")) <= len(
        data
    ):
        kind = data[position + 4 : position + 8]
        if kind not in _KEPT:
            kept.append((start, position))
            start = end
        elif kind == b"IEND":
            if not kept and end == len(data):
                return data
            return data[:_FIRST] + b"".join(
                data[first:last] for first, last in [*kept, (start, end)]
            )
        position = end
    return None
