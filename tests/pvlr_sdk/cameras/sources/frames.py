"""Reading a source to its end, and telling its frames apart."""

from __future__ import annotations

from pvlr_sdk.cameras.sources import CapturedFrame, EndOfSource, Source


def read_all(source: Source) -> list[CapturedFrame]:
    frames = []
    try:
        while True:
            frames.append(source.read())
    except EndOfSource:
        return frames


def grey(frame: CapturedFrame) -> int:
    """A frame's index in its clip: frame i is a gray of 5 i."""
    return round(float(frame.pixels.mean()) / 5)
