"""What cameras do to images: twelve corruptions of uint8 BGR images, for training and for measuring robustness.

After Hendrycks and Dietterich (2019, ImageNet-C), with those added that mounted cameras make: greyscale (infrared at
night), a colour cast, tilt, and small objects. Blur and movement are relative to the image's size.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Corruption = Callable[[Image, float, np.random.Generator], Image]
"""From an image (H, W, 3) of any strides and a strength above 0 and at most 1 to an image of the same shape."""


def _clip(pixels: NDArray[np.floating]) -> Image:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _noise(image: Image, strength: float, rng: np.random.Generator) -> Image:
    return _clip(image + rng.normal(0, 45 * strength, image.shape).astype(np.float32))


def _low_light(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Few photons: darker, with Poisson noise, and only partly brightened again."""
    light = 1 - 0.85 * strength
    photons = rng.poisson(image * np.float32(light * 60 / 255)).astype(np.float32)
    return _clip(photons * (255 / 60) * (1 + strength))


def _motion_blur(image: Image, strength: float, rng: np.random.Generator) -> Image:
    length = max(3, round(0.09 * strength * max(image.shape[:2]))) | 1
    line = np.zeros((length, length), np.float32)
    middle = length // 2
    angle = rng.uniform(0, np.pi)
    shift = np.array([np.cos(angle), np.sin(angle)]) * middle
    start = np.rint(middle - shift).astype(int)
    end = np.rint(middle + shift).astype(int)
    cv2.line(line, tuple(start.tolist()), tuple(end.tolist()), 1.0)
    return cv2.filter2D(image, -1, line / line.sum())


def _defocus(image: Image, strength: float, rng: np.random.Generator) -> Image:
    radius = max(1, round(0.022 * strength * max(image.shape[:2])))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(
        np.float32
    )
    return cv2.filter2D(image, -1, disc / disc.sum())


def _jpeg(image: Image, strength: float, rng: np.random.Generator) -> Image:
    quality = [cv2.IMWRITE_JPEG_QUALITY, round(30 - 25 * strength)]
    return cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)


def _greyscale(image: Image, strength: float, rng: np.random.Generator) -> Image:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)
    return _clip(image + min(1.0, 1.5 * strength) * (grey - image))


def _haze(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Everything moves towards a light grey."""
    return _clip(image + 0.8 * strength * (180 - image.astype(np.float32)))


def _overexposure(image: Image, strength: float, rng: np.random.Generator) -> Image:
    return _clip(image.astype(np.float32) * (1 + 1.6 * strength) + 25 * strength)


def _colour_cast(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Artificial light without white balance."""
    return _clip(image * np.exp(rng.uniform(-1, 1, 3) * strength).astype(np.float32))


def _pixelate(image: Image, strength: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    scale = 1 - 0.85 * strength
    size = max(1, round(width * scale * 0.6)), max(1, round(height * scale * 0.6))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _tilt(image: Image, strength: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    angle = rng.choice([-1, 1]) * 50 * strength
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    return cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def _far_away(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Everything smaller, somewhere before a blurred background."""
    height, width = image.shape[:2]
    scale = 1 - 0.6 * strength
    rows = max(1, round(height * scale))
    columns = max(1, round(width * scale))
    background = cv2.resize(
        cv2.resize(image, (3, 3), interpolation=cv2.INTER_AREA), (width, height)
    )
    top = int(rng.integers(0, height - rows + 1))
    left = int(rng.integers(0, width - columns + 1))
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    background[top : top + rows, left : left + columns] = small
    return background


CORRUPTIONS: dict[str, Corruption] = {
    "noise": _noise,
    "low light": _low_light,
    "motion blur": _motion_blur,
    "defocus": _defocus,
    "JPEG": _jpeg,
    "greyscale": _greyscale,
    "haze": _haze,
    "overexposure": _overexposure,
    "colour cast": _colour_cast,
    "pixelate": _pixelate,
    "tilt": _tilt,
    "far away": _far_away,
}


def infrared(image: Image, rng: np.random.Generator) -> Image:
    """The picture of an infrared camera at night: grey, lit by a lamp at the lens, dark and noisy to the edges.

    Not among ``CORRUPTIONS``, by which models are compared: this is a common mode of a camera, not a fault.
    """
    height, width = image.shape[:2]
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY).astype(np.float32)
    row, column = rng.uniform(0.3, 0.7, 2)
    down = (np.arange(height) / height - row)[:, None]
    across = np.arange(width) / width - column
    light = rng.uniform(0.5, 1.4) * np.exp(-rng.uniform(0, 4) * (down**2 + across**2))
    lit = grey * light.astype(np.float32) + rng.normal(0, rng.uniform(1, 12), grey.shape).astype(
        np.float32
    )
    return np.repeat(_clip(lit)[..., None], 3, 2)


def corrupted(image: Image, share: float, rng: np.random.Generator) -> Image:
    """With the probability ``share``, the image with one or two random corruptions of random strength."""
    if rng.random() >= share:
        return image
    names = list(CORRUPTIONS)
    for index in rng.choice(len(names), int(rng.integers(1, 3)), replace=False):
        image = CORRUPTIONS[names[index]](image, float(rng.uniform(0.1, 0.8)), rng)
    return image
