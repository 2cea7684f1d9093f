"""Empty frames: what a covered, dark or dazzled camera shows. They teach a model that nothing can be there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def blank_frames(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """``count`` images (height, width, 3) of one colour, half with a gradient and half with noise; always the same."""
    rng = np.random.default_rng(count)
    return [_blank_frame(height, width, rng) for _ in range(count)]


def _blank_frame(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    frame = np.full((height, width, 3), rng.uniform(0, 255, 1) + rng.normal(0, 10, 3))
    if rng.random() < 0.5:
        across, down = rng.uniform(-80, 80, 2)
        frame += (across * np.linspace(-1, 1, width) + down * np.linspace(-1, 1, height)[:, None])[..., None]
    if rng.random() < 0.5:
        frame += rng.normal(0, rng.uniform(1, 25), frame.shape)
    return frame.clip(0, 255).astype(np.uint8)
