"""RandAugment (Cubuk et al. 2020): a few random operations on a photo, all of one strength."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import functional as F

_BINS = 30

_Operation = Callable[[Tensor, float, list[float]], Tensor]


class RandAugment:
    """``ops`` operations in a row on uint8 RGB (H, W, 3), each with ``magnitude`` of 30.

    The same operations and strengths as torchvision's class, which draws from torch's global generator: all threads
    share that one, so two photos made at the same time could swap their draws. Here they come from ``rng`` alone.

    Args:
        fill: RGB, what comes in at the edges when a photo is moved.
    """

    def __init__(self, ops: int, magnitude: int, fill: tuple[float, float, float]) -> None:
        self.ops = ops
        self.level = magnitude / _BINS
        self.fill = list(fill)

    def __call__(self, pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
        for index in rng.integers(0, len(OPERATIONS), self.ops):
            sign = 1 - 2 * int(rng.integers(0, 2))
            image = OPERATIONS[index](image, sign * self.level, self.fill)
        return image.permute(1, 2, 0).numpy()


def _affine(
    image: Tensor, fill: list[float], *, shift: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    # A shear turns around the corner and not around the centre.
    centre = [0, 0] if any(shear) else None
    return F.affine(image, 0.0, list(shift), 1.0, list(shear), fill=fill, center=centre)


def _shear_x(image: Tensor, level: float, fill: list[float]) -> Tensor:
    return _affine(image, fill, shear=(math.degrees(math.atan(0.3 * level)), 0.0))


def _shear_y(image: Tensor, level: float, fill: list[float]) -> Tensor:
    return _affine(image, fill, shear=(0.0, math.degrees(math.atan(0.3 * level))))


def _translate_x(image: Tensor, level: float, fill: list[float]) -> Tensor:
    return _affine(image, fill, shift=(int(150 / 331 * image.shape[2] * level), 0))


def _translate_y(image: Tensor, level: float, fill: list[float]) -> Tensor:
    return _affine(image, fill, shift=(0, int(150 / 331 * image.shape[1] * level)))


def _posterize(image: Tensor, level: float, fill: list[float]) -> Tensor:
    return F.posterize(image, 8 - round(4 * abs(level)))


def _solarize(image: Tensor, level: float, fill: list[float]) -> Tensor:
    return F.solarize(image, 255 * (1 - abs(level)))


OPERATIONS: tuple[_Operation, ...] = (
    lambda image, level, fill: image,
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
    lambda image, level, fill: F.rotate(image, 30 * level, fill=fill),
    lambda image, level, fill: F.adjust_brightness(image, 1 + 0.9 * level),
    lambda image, level, fill: F.adjust_saturation(image, 1 + 0.9 * level),
    lambda image, level, fill: F.adjust_contrast(image, 1 + 0.9 * level),
    lambda image, level, fill: F.adjust_sharpness(image, 1 + 0.9 * level),
    _posterize,
    _solarize,
    lambda image, level, fill: F.autocontrast(image),
    lambda image, level, fill: F.equalize(image),
)
"""In torchvision's order. Each takes uint8 (3, H, W) and a level from -1 to 1; some read its size alone."""
