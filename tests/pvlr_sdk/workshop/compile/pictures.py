"""Pictures for the tests of calibration."""

from __future__ import annotations

import numpy as np


def smooth_images(count: int) -> list[np.ndarray]:
    """Smooth random images, uint8 (30, 44, 3)."""
    coarse = np.random.default_rng(3).integers(0, 256, (count, 5, 4, 3), np.uint8)
    return list(coarse.repeat(6, 1).repeat(11, 2))
