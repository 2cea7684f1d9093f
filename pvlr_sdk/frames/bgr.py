"""Frames as BGR arrays and as JPEG, for drawing, encoding and storing them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import InputSpec
from .frames import Color, FrameLike, Order, load_frame
from .preprocess import Preprocessor, image_size

_LONGEST_JPEG = 65_500
"""Pixels: libjpeg's limit for a side."""


def load_bgr(frame: FrameLike, color: Color = "bgr") -> NDArray[np.uint8]:
    """Convert a frame to uint8 (H, W, 3) BGR; arguments and errors as for :func:`load_frame`."""
    pixels, order, _, _, chroma = load_frame(frame, color)
    if order == "bgr":
        return pixels
    conversions = {
        "rgb": cv2.COLOR_RGB2BGR,
        "gray": cv2.COLOR_GRAY2BGR,
        "bgra": cv2.COLOR_BGRA2BGR,
        "rgba": cv2.COLOR_RGBA2BGR,
        "nv12": cv2.COLOR_YUV2BGR_NV12,
        "i420": cv2.COLOR_YUV2BGR_I420,
    }
    if chroma or order not in conversions:
        return _by_core(pixels, order, chroma, *image_size(pixels, order, chroma))
    bgr: NDArray[np.uint8] = cv2.cvtColor(np.ascontiguousarray(pixels), conversions[order])
    return bgr


def small_bgr(frame: FrameLike, color: Color, longest: int) -> NDArray[np.uint8]:
    """As :func:`load_bgr`, scaled down so that no side has more than ``longest`` pixels, in one pass over the frame."""
    pixels, order, _, _, chroma = load_frame(frame, color)
    height, width = image_size(pixels, order, chroma)
    scale = min(1.0, longest / max(height, width))
    return _by_core(
        pixels, order, chroma, max(1, round(height * scale)), max(1, round(width * scale))
    )


def encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """Encode uint8 (H, W, 3) BGR or (H, W) grey as JPEG; scaled down if a side is beyond JPEG's 65,500 pixels."""
    pixels = shrink(pixels, _LONGEST_JPEG)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def shrink(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Scale an image down so that no side has more than ``longest`` pixels; a smaller one is returned as it is."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _by_core(
    pixels: NDArray[np.uint8],
    order: Order,
    chroma: Sequence[NDArray[np.uint8]],
    height: int,
    width: int,
) -> NDArray[np.uint8]:
    """The core's conversion, which reads every format and scales at once."""
    # Not validated: a frame may be larger than any network's input.
    spec = InputSpec.model_construct(
        width=width, height=height, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    rgb = Preprocessor(spec)(pixels, order, chroma=chroma)
    return np.ascontiguousarray(rgb.round().astype(np.uint8)[::-1].transpose(1, 2, 0))
