"""Clips made of labelled images with the movement of a camera, the same for the same seed.

Each image is shown for some seconds after some seconds of an empty frame. Its labels are what is visible meanwhile. The
window on the image has at least 80 % of its sides: an object at the edge may leave it, so a recall of 100 % is not
possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pvlr_sdk import errors
from pvlr_sdk.evaluation.labels_csv import LabelTable
from pvlr_sdk.frames.bgr import load_bgr

from .truth import Interval, Intervals, Truth

Image = NDArray[np.uint8]
Window = tuple[float, float, float, float]
"""Of a camera on an image: x and y of its middle, its scale (fractions of the image), its angle in degrees."""

FPS = 10.0
EMPTY, SHOWN = 2.0, 4.0
"""Seconds of the empty frame before each image, and of the image."""


@dataclass(frozen=True)
class Motion:
    """How a camera moves over an image.

    Attributes:
        path: from a generator and a number of frames to the window of each.
        grey: of the empty frame, 0 to 255.
        noise: standard deviation of the noise of the empty and the dark frames.
        dark: number of dark frames in the middle of each image.
    """

    path: Callable[[np.random.Generator, int], list[Window]]
    grey: float
    noise: float
    dark: int = 0


def _pan(rng: np.random.Generator, count: int) -> list[Window]:
    """From one place on the image to another, while zooming in or out."""
    scales = np.linspace(*rng.permutation([0.8, 1.0]), count)
    start, end = rng.uniform(-0.5, 0.5, (2, 2))
    return [
        (*(0.5 + (1 - scale) * (start + (end - start) * t)), scale, 0.0)
        for t, scale in zip(np.linspace(0, 1, count), scales, strict=True)
    ]


def _shake(rng: np.random.Generator, count: int) -> list[Window]:
    """A hand that trembles, or a pole in the wind: x, y and angle change smoothly and at random."""
    moves = rng.normal(0, 1, (count + 4, 3))
    smooth = np.stack([np.convolve(move, np.ones(5) / 5**0.5, "valid") for move in moves.T])
    x, y, angle = np.clip(smooth, -2, 2)
    return [(0.5 + 0.03 * x[i], 0.5 + 0.03 * y[i], 0.88, 1.5 * angle[i]) for i in range(count)]


MOTIONS = {
    "pan and zoom": Motion(_pan, grey=120, noise=2),
    "shake, dark frames": Motion(_shake, grey=6, noise=4, dark=2),
}


@dataclass(frozen=True)
class Simulation:
    """A simulated clip: the images and labels behind it.

    Attributes:
        paths: the images, in their order.
        targets: (N, C) int8, 1 present, -1 absent, 0 unknown.
    """

    name: str
    seed: int
    paths: list[Path]
    targets: NDArray[np.int8]

    def frames(self) -> Iterator[Image]:
        """The frames, uint8 BGR, each with the size of its image. Raises FrameError."""
        motion = MOTIONS[self.name]
        rng = np.random.default_rng([self.seed, list(MOTIONS).index(self.name)])
        for path in self.paths:
            photo = load_bgr(path)
            for _ in range(round(EMPTY * FPS)):
                yield _empty(photo, motion, rng)
            count = round(SHOWN * FPS)
            dark = range((count - motion.dark) // 2, (count + motion.dark) // 2)
            for index, window in enumerate(motion.path(rng, count)):
                yield _empty(photo, motion, rng) if index in dark else _view(photo, window)

    def truth(self, labels: Sequence[str], unknown: Sequence[str]) -> Truth:
        """The labels of each image while it is shown; those that its annotation leaves open are optional."""
        present, optional = (self._intervals(labels, value) for value in (1, 0))
        return Truth(self.name, present, optional, frozenset(unknown))

    def _intervals(self, labels: Sequence[str], value: int) -> Intervals:
        period = EMPTY + SHOWN
        return {
            label: [
                Interval(number * period + EMPTY, (number + 1) * period)
                for number in np.flatnonzero(self.targets[:, column] == value).tolist()
            ]
            for column, label in enumerate(labels)
        }


def simulations(table: LabelTable, folder: Path, count: int, seed: int) -> list[Simulation]:
    """A clip of each motion, of ``count`` random images each with a label. Raises OptionError if there are too few."""
    rows = np.flatnonzero((table.targets == 1).any(axis=1))
    if not 0 < count * len(MOTIONS) <= len(rows):
        expected = f"from 1 to {len(rows) // len(MOTIONS)} images per clip"
        raise errors.OptionError("--count", expected=expected, got=str(count), hint="Give fewer, or another --split.")
    chosen = np.random.default_rng(seed).choice(rows, (len(MOTIONS), count), replace=False)
    return [
        Simulation(name, seed, [folder / table.files[row] for row in part], table.targets[part])
        for name, part in zip(MOTIONS, chosen.tolist(), strict=True)
    ]


def _view(photo: Image, window: Window) -> Image:
    """What the camera sees, in the size of the image."""
    height, width = photo.shape[:2]
    x, y, scale, angle = window
    turn = cv2.getRotationMatrix2D((x * width, y * height), angle, 1 / scale)
    turn[:, 2] += width * (0.5 - x), height * (0.5 - y)
    return cv2.warpAffine(photo, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _empty(photo: Image, motion: Motion, rng: np.random.Generator) -> Image:
    return np.clip(rng.normal(motion.grey, motion.noise, photo.shape), 0, 255).astype(np.uint8)
