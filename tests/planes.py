"""YUV frames as decoders return them: planes whose rows have a pitch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ORDERS = ("nv12", "nv12-bt709-full", "i420", "i420-bt709")
Planes = tuple[NDArray[np.uint8], ...]


def planes_of(frame: NDArray[np.uint8], order: str, padding: int = 3) -> Planes:
    """A packed frame (H * 3 / 2, W) as planes with ``padding`` bytes after each row."""
    height, width = frame.shape[0] // 3 * 2, frame.shape[1]
    chroma = frame[height:]
    parts = (
        [chroma] if order.startswith("nv12") else list(chroma.reshape(2, height // 2, width // 2))
    )
    return tuple(
        np.pad(part, ((0, 0), (0, padding)))[:, : part.shape[1]]
        for part in (frame[:height], *parts)
    )


def random_planes(height: int, width: int, order: str) -> Planes:
    """Random planes of any size, odd ones too."""
    half, across = (height + 1) // 2, (width + 1) // 2
    chroma = [(half, 2 * across)] if order.startswith("nv12") else [(half, across)] * 2
    random = np.random.default_rng(0)
    return tuple(random.integers(0, 256, shape, np.uint8) for shape in ((height, width), *chroma))
