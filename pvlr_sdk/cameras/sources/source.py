"""What every source shares: the captured frame, the parsed URI, the options and the source itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...frames.frames import Color, Order, color_of
from ...frames.yuv import is_yuv

Transport: TypeAlias = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A decoded frame and the times that belong to it.

    Attributes:
        pixels: uint8, (H, W, 3) for ``bgr`` and ``rgb``, (H, W) for ``gray``, (H * 3 / 2, W) for ``nv12``. Shared
            with other readers: do not modify it.
        order: ``bgr``, ``rgb``, ``gray`` or ``nv12``, the last with ``-bt709`` and ``-full`` if the source says so
            (:mod:`pvlr_sdk.frames.yuv`).
        captured: ``time.monotonic()`` in seconds when it left the decoder; use it for ages and durations.
        wall: ``time.time()`` in seconds at the same moment; use it for display.
        source_time: seconds since the first frame on the stream's own clock; None if it has none.
        sequence: 0, 1, 2, ... since the source was opened.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    order: Order
    captured: float
    wall: float
    source_time: float | None
    sequence: int

    @property
    def color(self) -> Color:
        """The ``color`` argument for ``Tagger.predict``, which recognizes a gray frame by its shape."""
        return color_of(self.order)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.pixels.shape[:2]
        return (height * 2 // 3, width) if is_yuv(self.order) else (height, width)


class Source(Protocol):
    """An open source of frames. One thread reads; any thread may close.

    Attributes:
        uri: the URI it was opened from, without credentials.
        live: whether frames arrive in real time and are lost unless read in time. Otherwise the reader sets the pace.
        decode_errors: number of damaged packets discarded so far.
        skipped: number of frames not decoded so far because decoding had fallen behind the source.
    """

    uri: str
    live: bool
    decode_errors: int
    skipped: int

    def read(self) -> CapturedFrame:
        """Wait for the next frame.

        Raises:
            EndOfSource: there are no more frames.
            SourceLostError: no frame arrived in time, the connection broke, or the source was closed.
        """

    def close(self) -> None:
        """Release it. A ``read`` in another thread ends soon, at the latest after the source's timeout."""


def lost(uri: str, got: str, hint: str = "Open it again.") -> errors.SourceLostError:
    """The error for a source that delivers no more frames."""
    return errors.SourceLostError(uri, "the next frame", got, hint)


class SourceUri(Protocol):
    """A parsed URI. ``scheme`` is its key in :data:`.opening.SCHEMES`."""

    @property
    def scheme(self) -> str: ...

    def redacted(self) -> str:
        """A form without credentials, for messages and logs."""


class SourceOptions(NamedTuple):
    """The options of :func:`.open_source`."""

    transport: Transport = "tcp"
    timeout: float = 5.0
    loop: bool = False
    ca: str | None = None
    insecure: bool = False
    max_pixels: int | None = None


class EndOfSource(Exception):  # noqa: N818 (the end of a file is not an error)
    """The last frame has been read."""
