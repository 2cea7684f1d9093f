"""The ``test://`` source: moving shapes at a camera's pace. The shortest complete source."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .source import CapturedFrame, EndOfSource, SourceOptions, lost
from .uri import parse_options, parse_rate, parse_size, parse_whole, reject

_SHAPES = 5


@dataclass(frozen=True, slots=True)
class PatternUri:
    """Generated moving shapes, for trials, tests and measurements.

    ``frames`` ends it after that many. From frame ``freeze_after`` on no frame arrives, as from a camera that hangs;
    from frame ``resize_after`` on frames have half the size.
    """

    scheme: ClassVar[str] = "test"
    size: tuple[int, int] = (1280, 720)
    fps: float = 30.0
    frames: int | None = None
    seed: int = 0
    freeze_after: int | None = None
    resize_after: int | None = None

    def redacted(self) -> str:
        return f"test://?size={self.size[0]}x{self.size[1]}&fps={self.fps:g}&seed={self.seed}"


def parse(uri: str, scheme: str, address: str) -> PatternUri:
    """Parse ``test://?option=value&...``."""
    name, _, query = address.partition("?")
    if name.strip("/"):
        reject(
            uri,
            "test://?option=value&...",
            "a name",
            "The pattern has options only, such as test://?fps=30.",
        )
    counts = dict.fromkeys(("frames", "seed", "freeze_after", "resize_after"), parse_whole)
    return PatternUri(
        **parse_options(uri, query, {"size": parse_size, "fps": parse_rate, **counts})
    )


class PatternSource:
    """Frames that depend only on the seed and the sequence number. A frozen pattern is lost after ``timeout`` s."""

    live = True

    def __init__(self, uri: PatternUri, options: SourceOptions) -> None:
        self.uri = uri.redacted()
        self.decode_errors = self.skipped = 0
        self._pattern = uri
        self._timeout = options.timeout
        self._closed = threading.Event()
        self._sequence = 0
        self._due = time.monotonic()
        self._canvas = _Canvas(uri.size, uri.seed)

    def read(self) -> CapturedFrame:
        pattern = self._pattern
        sequence = self._sequence
        if pattern.frames is not None and sequence >= pattern.frames:
            raise EndOfSource
        if pattern.freeze_after is not None and sequence >= pattern.freeze_after:
            self._wait(self._timeout)
            raise lost(
                self.uri, f"none for {self._timeout:g} s", "Remove freeze_after from the URI."
            )
        self._wait(self._due - time.monotonic())
        # A reader that was away for long misses frames, as with a camera, instead of receiving them all at once.
        self._due = max(self._due + 1 / pattern.fps, time.monotonic() - 0.25)
        self._sequence += 1
        if sequence == pattern.resize_after:
            width, height = pattern.size
            self._canvas = _Canvas((max(width // 2, 1), max(height // 2, 1)), pattern.seed)
        pixels = self._canvas.draw(sequence)
        return CapturedFrame(
            pixels, "bgr", time.monotonic(), time.time(), sequence / pattern.fps, sequence
        )

    def close(self) -> None:
        self._closed.set()

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(max(seconds, 0)):
            raise lost(self.uri, "a closed source")


class _Canvas:
    """Draws frames: rectangles that move over a gradient, each with its own direction and speed."""

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        width, height = size
        random = np.random.default_rng(seed)
        across = np.linspace(0, 120, width)
        down = np.linspace(0, 80, height)
        self._ground = np.empty((height, width, 3), np.uint8)
        self._ground[:] = (across[None, :] + down[:, None]).astype(np.uint8)[:, :, None]
        self._colors = random.integers(0, 256, (_SHAPES, 3), np.uint8)
        self._starts = random.uniform(0, 1, (_SHAPES, 2))
        self._speeds = random.uniform(0.002, 0.01, (_SHAPES, 2))
        self._extents = random.uniform(0.1, 0.3, (_SHAPES, 2))

    def draw(self, sequence: int) -> NDArray[np.uint8]:
        """uint8 (height, width, 3) BGR."""
        pixels = self._ground.copy()
        height, width = pixels.shape[:2]
        for start, speed, extent, color in zip(
            self._starts, self._speeds, self._extents, self._colors, strict=True
        ):
            top, left = (start + speed * sequence) % 1 * (height, width)
            bottom = top + extent[0] * height
            right = left + extent[1] * width
            pixels[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = color
        return pixels
