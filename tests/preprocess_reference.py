"""The pixel contract in plain NumPy and float64: the definition that the compiled pass is tested against.

It deliberately shares no code with :mod:`pvlr_sdk.frames.preprocess`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pvlr_sdk.bundle.manifest import InputSpec


def preprocess_reference(
    pixels: NDArray[np.uint8], order: str, spec: InputSpec
) -> NDArray[np.float64]:
    """Compute the network's input for one frame: float64 (3, height, width), RGB, normalised.

    Args:
        pixels: uint8, of the shape that ``order`` requires (see :class:`pvlr_sdk.frames.preprocess.Preprocessor`).
        order: bgr, rgb, gray, bgra, rgba, or nv12 or i420, optionally with ``-bt709``, ``-full`` or both.
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
    if order.startswith(("nv12", "i420")):
        return _yuv_to_rgb(pixels, order)
    return pixels[:, :, 2::-1] if order in ("bgr", "bgra") else pixels[:, :, :3]


def _yuv_to_rgb(pixels: NDArray[np.uint8], order: str) -> NDArray[np.uint8]:
    """Rounded to 8 bit, with coefficients in units of 2**-20: BT.709 with ``-bt709`` in the order, else BT.601, and
    full range with ``-full``. For BT.601 in limited range they equal OpenCV's cvtColor."""
    height, width = pixels.shape[0] // 3 * 2, pixels.shape[1]
    if order.startswith("nv12"):
        planes = np.stack([pixels[height:, 0::2], pixels[height:, 1::2]])
    else:
        planes = pixels[height:].reshape(2, height // 2, width // 2)
    u, v = planes.astype(np.int64).repeat(2, axis=1).repeat(2, axis=2) - 128
    black, luma, red_v, green_u, green_v, blue_u = _coefficients("bt709" in order, "full" in order)
    light = luma * np.maximum(pixels[:height].astype(np.int64) - black, 0)
    rgb = np.stack(
        [light + red_v * v, light + green_u * u + green_v * v, light + blue_u * u], axis=-1
    )
    return np.clip(np.floor(rgb / 2**20 + 0.5), 0, 255).astype(np.uint8)


def _coefficients(bt709: bool, full: bool) -> list[int]:
    """Black's luma; then the factors of luma, V in red, U in green, V in green and U in blue, times 2**20."""
    if not bt709 and not full:
        factors = [1.164, 1.596, -0.391, -0.813, 2.018]
    else:
        red, blue = (0.2126, 0.0722) if bt709 else (0.299, 0.114)  # the share of each in luma
        green = 1 - red - blue
        luma, chroma = (1.0, 1.0) if full else (255 / 219, 255 / 224)
        in_green = [-2 * share * (1 - share) / green * chroma for share in (blue, red)]
        factors = [luma, 2 * (1 - red) * chroma, *in_green, 2 * (1 - blue) * chroma]
    return [0 if full else 16, *(round(factor * 2**20) for factor in factors)]
