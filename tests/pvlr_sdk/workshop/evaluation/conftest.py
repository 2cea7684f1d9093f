"""Images of random colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

COUNT = 30


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with 0.png and so on, each of another size."""
    random = np.random.default_rng(5)
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(COUNT):
        colour = random.integers(0, 256, 3)
        pixels = np.clip(colour + random.normal(0, 40, (20 + index, 30, 3)), 0, 255).astype(
            np.uint8
        )
        cv2.imwrite(str(folder / f"{index}.png"), pixels)
    return folder
