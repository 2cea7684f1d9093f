"""Network inputs from images: as deployed, or augmented for training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from pvlr_sdk.frames.preprocess import Preprocessor

from .config import DataConfig
from .corruptions import corrupted, infrared
from .images import Image, ImageDataset, image_batches


class Views:
    """Makes network inputs from images; augmented ones depend on (seed, epoch, index) only."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.preprocess = Preprocessor(config.input)

    def plain(self, image: Image) -> NDArray[np.float32]:
        """The whole image, preprocessed as deployed: (3, H, W)."""
        return self.preprocess(image, "bgr")

    def batches(self, dataset: ImageDataset, start: int = 0) -> Iterator[Tensor]:
        """All whole images from ``start`` on in their order, in batches (b, 3, H, W)."""
        order = list(range(start, len(dataset)))
        for images, _ in image_batches(dataset, order, 32, lambda image, _: self.plain(image)):
            yield images

    def augmented(self, image: Image, epoch: int, index: int) -> NDArray[np.float32]:
        """A random crop with random flip, corruptions, RandAugment, brightness, contrast, cut-out: (3, H, W)."""
        rng = np.random.default_rng((self.seed, epoch, index))
        view = _random_crop(image, rng, self.config.min_crop)
        if rng.random() < 0.5:
            view = view[:, ::-1]
        if self.config.camera:
            view = corrupted(view, self.config.camera, rng)
        # Without the key nothing is drawn, so that the views of earlier runs stay the same.
        if self.config.infrared and rng.random() < self.config.infrared:
            view = infrared(view, rng)
        chosen = self.config.randaugment
        if chosen.ops:
            view = rand_augment(
                view[:, :, ::-1], chosen.ops, chosen.magnitude, self.config.input.mean, rng
            )
            pixels = self.preprocess(view, "rgb")
        else:
            pixels = self.preprocess(view, "bgr")
        if self.config.jitter:
            gain, shift = rng.uniform(-self.config.jitter, self.config.jitter, 2)
            pixels *= np.float32(1 + gain)
            pixels += np.float32(shift)
        if rng.random() < self.config.cutout:
            _cut_out(pixels, rng)
        return pixels


def _random_crop(image: Image, rng: np.random.Generator, min_area: float) -> Image:
    height, width = image.shape[:2]
    area = rng.uniform(min_area, 1.0) * height * width
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3))) * width / height
    crop_width = int(min(width, max(1, round((area * ratio) ** 0.5))))
    crop_height = int(min(height, max(1, round((area / ratio) ** 0.5))))
    top = int(rng.integers(0, height - crop_height + 1))
    left = int(rng.integers(0, width - crop_width + 1))
    return image[top : top + crop_height, left : left + crop_width]


def _cut_out(pixels: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Zero a square of up to half the side (DeVries & Taylor 2017)."""
    _, height, width = pixels.shape
    side = int(rng.uniform(0.2, 0.5) * min(height, width))
    top = int(rng.integers(0, height - side + 1))
    left = int(rng.integers(0, width - side + 1))
    pixels[:, top : top + side, left : left + side] = 0


def rand_augment(
    pixels: NDArray[np.uint8],
    ops: int,
    magnitude: int,
    fill: tuple[float, float, float],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """RandAugment (Cubuk et al. 2020): ``ops`` random operations on uint8 RGB (H, W, 3), of ``magnitude`` 0 to 30.

    The same operations and strengths as torchvision's class, which draws from torch's global generator. All threads
    share that one, so concurrent images could swap their draws; here all draws come from ``rng``.

    Args:
        fill: RGB of the pixels that move in from outside the image.
    """
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
    for index in rng.integers(0, len(OPERATIONS), ops):
        sign = 1 - 2 * int(rng.integers(0, 2))
        image = OPERATIONS[index](image, sign * (magnitude / 30), list(fill))
    return image.permute(1, 2, 0).numpy()


def _shear(image: Tensor, fill: list[float], x: float = 0.0, y: float = 0.0) -> Tensor:
    """Centred on the corner."""
    angles = [math.degrees(math.atan(0.3 * level)) for level in (x, y)]
    return F.affine(image, 0.0, [0, 0], 1.0, angles, fill=fill, center=[0, 0] if x or y else None)


def _translate(image: Tensor, fill: list[float], x: float = 0.0, y: float = 0.0) -> Tensor:
    _, height, width = image.shape
    shift = [int(150 / 331 * width * x), int(150 / 331 * height * y)]
    return F.affine(image, 0.0, shift, 1.0, [0.0, 0.0], fill=fill)


OPERATIONS: tuple[Callable[[Tensor, float, list[float]], Tensor], ...] = (
    lambda image, level, fill: image,
    lambda image, level, fill: _shear(image, fill, x=level),
    lambda image, level, fill: _shear(image, fill, y=level),
    lambda image, level, fill: _translate(image, fill, x=level),
    lambda image, level, fill: _translate(image, fill, y=level),
    lambda image, level, fill: F.rotate(image, 30 * level, fill=fill),
    lambda image, level, fill: F.adjust_brightness(image, 1 + 0.9 * level),
    lambda image, level, fill: F.adjust_saturation(image, 1 + 0.9 * level),
    lambda image, level, fill: F.adjust_contrast(image, 1 + 0.9 * level),
    lambda image, level, fill: F.adjust_sharpness(image, 1 + 0.9 * level),
    lambda image, level, fill: F.posterize(image, 8 - round(4 * abs(level))),
    lambda image, level, fill: F.solarize(image, 255 * (1 - abs(level))),
    lambda image, level, fill: F.autocontrast(image),
    lambda image, level, fill: F.equalize(image),
)
"""In torchvision's order. Each takes uint8 (3, H, W) and a level from -1 to 1; some use only its magnitude."""
