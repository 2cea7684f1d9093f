"""A frame with its times, and what every source of frames can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A picture as it left the decoder.

    Attributes:
        pixels: uint8, (H, W, 3) for ``bgr`` and ``rgb``, (H, W) for ``gray``, (H * 3 / 2, W) for ``nv12``. Nobody else
            writes to it later, but others may read it: don't change it.
        order: ``bgr``, ``rgb``, ``gray`` or ``nv12``.
        captured: ``time.monotonic()`` in seconds when it left the decoder: for ages and durations.
        wall: ``time.time()`` in seconds at the same moment: for people.
        source_time: seconds on the stream's own clock, from its first frame on; None if it has none.
        sequence: 0, 1, 2, ... within one opening of the source.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    order: str
    captured: float
    wall: float
    source_time: float | None
    sequence: int

    @property
    def color(self) -> str:
        """What ``Tagger.predict`` wants to hear as ``color``; a grey frame is known by its shape."""
        return "bgr" if self.order == "gray" else self.order

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture in pixels."""
        height, width = self.pixels.shape[:2]
        return (height * 2 // 3, width) if self.order == "nv12" else (height, width)


class Source(Protocol):
    """An open source of frames. One thread reads; any thread may close.

    Attributes:
        uri: what it was opened from, without credentials.
        live: the world sets its pace, and a frame that isn't read in time is lost. Otherwise the reader sets the pace.
        decode_errors: how many damaged packets were left out so far.
        skipped: how many frames were left undecoded so far, because decoding had fallen behind the source.
    """

    uri: str
    live: bool
    decode_errors: int
    skipped: int

    def read(self) -> CapturedFrame:
        """The next frame, once it is there.

        Raises:
            EndOfSource: there are no more.
            SourceLostError: none came in time, the connection broke, or the source was closed.
        """

    def close(self) -> None:
        """Free it. A ``read`` under way in another thread ends soon, at the latest after the source's timeout."""


class EndOfSource(Exception):  # noqa: N818 (the end of a file is no error)
    """The last frame has been read."""
