"""Reading a source to its end, and telling its frames apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pvlr_sdk.sources import CapturedFrame, EndOfSource, Source


@pytest.fixture
def read_all() -> Callable[[Source], list[CapturedFrame]]:
    """Reads all frames of a source."""

    def read(source: Source) -> list[CapturedFrame]:
        frames = []
        try:
            while True:
                frames.append(source.read())
        except EndOfSource:
            return frames

    return read


@pytest.fixture
def grey() -> Callable[[CapturedFrame], int]:
    """Computes a frame's index in its clip: frame i is a gray of 5 i."""
    return lambda frame: round(float(frame.pixels.mean()) / 5)
