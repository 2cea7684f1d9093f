"""The ``test://`` source: shapes that move, at a camera's pace."""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .captured import CapturedFrame, EndOfSource
from .uri import PatternUri

_SHAPES = 5


class PatternSource:
    """Frames that depend on the seed and the sequence number alone.

    Args:
        uri: size, rate and the rest.
        timeout: seconds after which a frozen pattern counts as lost.
    """

    live = True

    def __init__(self, uri: PatternUri, timeout: float) -> None:
        self.uri = uri.redacted()
        self.decode_errors = self.skipped = 0
        self._pattern = uri
        self._timeout = timeout
        self._closed = threading.Event()
        self._sequence = 0
        self._due = time.monotonic()
        self._canvas = _Canvas(uri.size, uri.seed)

    def read(self) -> CapturedFrame:
        pattern, sequence = self._pattern, self._sequence
        if pattern.frames is not None and sequence >= pattern.frames:
            raise EndOfSource
        if pattern.freeze_after is not None and sequence >= pattern.freeze_after:
            self._wait(self._timeout)
            raise errors.SourceLostError(
                self.uri,
                expected="a frame",
                got=f"none for {self._timeout:g} s",
                hint="The pattern was told to freeze.",
            )
        self._wait(self._due - time.monotonic())
        # A reader that was away for long misses frames, as with a camera, instead of getting them all at once.
        self._due = max(self._due + 1 / pattern.fps, time.monotonic() - 0.25)
        self._sequence += 1
        if sequence == pattern.resize_after:
            width, height = pattern.size
            self._canvas = _Canvas((max(width // 2, 1), max(height // 2, 1)), pattern.seed)
        pixels = self._canvas.draw(sequence)
        return CapturedFrame(pixels, "bgr", time.monotonic(), time.time(), sequence / pattern.fps, sequence)

    def close(self) -> None:
        self._closed.set()

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(max(seconds, 0)):
            raise errors.SourceLostError(self.uri, expected="an open source", got="a closed one", hint="Open it again.")


class _Canvas:
    """Draws frame by frame: a gradient under rectangles that each have their own way and speed."""

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        width, height = size
        random = np.random.default_rng(seed)
        across, down = np.linspace(0, 120, width), np.linspace(0, 80, height)
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
        for start, speed, extent, color in zip(self._starts, self._speeds, self._extents, self._colors, strict=True):
            top, left = (start + speed * sequence) % 1 * (height, width)
            bottom, right = (top + extent[0] * height, left + extent[1] * width)
            pixels[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = color
        return pixels
