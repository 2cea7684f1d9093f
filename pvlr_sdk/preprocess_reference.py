"""The pixel contract in plain NumPy and float64: slow, short, and what the compiled pass is tested against.

It shares no code with :mod:`pvlr_sdk.preprocess` on purpose.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .manifest import InputSpec


def preprocess_reference(pixels: NDArray[np.uint8], order: str, spec: InputSpec) -> NDArray[np.float64]:
    """Compute the network's input for one frame: float64 (3, height, width), RGB, normalised.

    Args:
        pixels: uint8, of the shape that ``order`` asks for (see :class:`pvlr_sdk.preprocess.Preprocessor`).
        order: bgr, rgb, gray, bgra, rgba or nv12.
        spec: the network's input.
    """
    rgb = to_rgb(pixels, order).astype(np.float64)
    height, width = rgb.shape[:2]
    inner_height, inner_width = spec.height, spec.width
    if spec.resize == "letterbox":
        scale = min(spec.width / width, spec.height / height)
        inner_width = min(spec.width, max(1, math.floor(width * scale + 0.5)))
        inner_height = min(spec.height, max(1, math.floor(height * scale + 0.5)))
    top, left = (spec.height - inner_height) // 2, (spec.width - inner_width) // 2

    rows = triangle_filter(height, inner_height)
    columns = triangle_filter(width, inner_width)
    canvas = np.empty((spec.height, spec.width, 3))
    canvas[:] = spec.pad
    canvas[top : top + inner_height, left : left + inner_width] = np.stack(
        [rows @ rgb[:, :, channel] @ columns.T for channel in range(3)], axis=-1
    )
    return ((canvas - spec.mean) / spec.std).transpose(2, 0, 1)


def triangle_filter(size: int, new_size: int) -> NDArray[np.float64]:
    """Compute the matrix (new_size, size) that resizes one axis: an antialiased triangle, half-pixel centres.

    Equal to ``torch.nn.functional.interpolate(mode="bilinear", antialias=True, align_corners=False)``.
    """
    scale = size / new_size
    centres = (np.arange(new_size)[:, None] + 0.5) * scale
    positions = np.arange(size)[None, :] + 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(positions - centres) / max(scale, 1.0))
    return weights / weights.sum(axis=1, keepdims=True)


def to_rgb(pixels: NDArray[np.uint8], order: str) -> NDArray[np.uint8]:
    """Convert an array of any order to uint8 (H, W, 3) in RGB order."""
    if order == "gray":
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if order == "nv12":
        return _nv12_to_rgb(pixels)
    return pixels[:, :, 2::-1] if order in ("bgr", "bgra") else pixels[:, :, :3]


def _nv12_to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601, limited range, rounded to 8 bit: the coefficients of OpenCV's cvtColor, in units of 2**-20."""
    height = pixels.shape[0] // 3 * 2
    luma = 1220542 * np.maximum(pixels[:height].astype(np.int64) - 16, 0)
    chroma = (pixels[height:].astype(np.int64) - 128).repeat(2, axis=0)
    u, v = chroma[:, 0::2].repeat(2, axis=1), chroma[:, 1::2].repeat(2, axis=1)
    rgb = np.stack([luma + 1673527 * v, luma - 852492 * v - 409993 * u, luma + 2116026 * u], axis=-1)
    return np.clip(np.floor(rgb / 2**20 + 0.5), 0, 255).astype(np.uint8)
