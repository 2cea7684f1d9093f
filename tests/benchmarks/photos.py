"""Photos for short runs of the benchmarks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import SAMPLES


def make_images(folder: Path, count: int, side: int = 375) -> list[Path]:
    """Copies of the sample images, 4:3 and ``side`` pixels high, each shifted so that no two compress alike."""
    folder.mkdir(parents=True, exist_ok=True)
    size = side * 4 // 3, side
    bases = [
        cv2.resize(cv2.imread(str(path)), size, interpolation=cv2.INTER_CUBIC) for path in SAMPLES
    ]
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        image = np.roll(bases[number % len(bases)], 7 * number, axis=1)
        cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths
