"""Images that show the same: copies, crops, and the images of a burst or a video."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import FrameError
from ...frames.frames import load_frame

_SIDE = 32
_KEPT = 8
_COPY = 10
"""The most bits in which copies differ: true of all of 120 images that were compressed again, reduced, brightened or
cropped by 4 %, and of 49 of the 67 million pairs of 11,603 images of VOC 2007 and COCO."""
_NEIGHBOUR = 18
"""The same of an image and the next one by name: 0.1 % of the pairs of different images."""
_BLOCKS = 20


def similar(paths: Sequence[Path], folders: bool = False) -> NDArray[np.int64]:
    """Groups (N,) of images that look alike, as integers; an image that cannot be decoded is a group.

    Two images are in one group if their perceptual hashes hardly differ, or differ little and one is the next by name.
    If more than half of the images would be one group, as those of a fixed camera, the groups are twenty runs of images
    in the order of their names instead.

    Args:
        folders: images of one folder are one group.
    """
    order = sorted(range(len(paths)), key=lambda i: paths[i])
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(_hash, paths))
    hashed = [i for i in order if hashes[i] is not None]
    group = np.arange(len(paths))

    def join(a: int, b: int) -> None:
        group[group == group[a]] = group[b]

    if hashed:
        bits = np.array([hashes[i] for i in hashed], np.uint8)
        for pairs in cv2.BFMatcher(cv2.NORM_HAMMING).radiusMatch(bits, bits, _COPY):
            for pair in pairs:
                if pair.queryIdx < pair.trainIdx:
                    join(hashed[pair.queryIdx], hashed[pair.trainIdx])
        for at in np.flatnonzero(np.unpackbits(bits[1:] ^ bits[:-1], axis=1).sum(1) <= _NEIGHBOUR):
            join(hashed[at], hashed[at + 1])
    if len(group) and np.bincount(group).max() > len(group) / 2:
        group[order] = np.arange(len(group)) * _BLOCKS // len(group)
    if folders:
        first: dict[Path, int] = {}
        for i, path in enumerate(paths):
            join(i, first.setdefault(path.parent, i))
    return np.unique(group, return_inverse=True)[1]


def _hash(path: Path) -> NDArray[np.uint8] | None:
    """The perceptual hash pHash (Zauner 2010): the signs of the lowest frequencies about their median, 64 bits."""
    try:
        pixels = load_frame(path, "bgr", (_SIDE, _SIDE)).pixels
    except FrameError:
        return None
    grey = cv2.resize(
        cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA
    )
    low = cv2.dct(grey.astype(np.float32))[:_KEPT, :_KEPT].ravel()
    return np.packbits(low > np.median(low))
