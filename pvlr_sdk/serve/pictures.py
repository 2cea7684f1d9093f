"""Frames as JPEG, for browsers."""

from __future__ import annotations

from ..frames import load_bgr
from ..sources import CapturedFrame

_WIDEST = 960
_QUALITY = 75


def encode(frame: CapturedFrame) -> bytes:
    """A frame as JPEG, made smaller if it is wider than 960 pixels."""
    import cv2

    pixels = load_bgr(frame.pixels, frame.color)
    height, width = pixels.shape[:2]
    if width > _WIDEST:
        size = _WIDEST, max(1, round(height * _WIDEST / width))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(pixels.dtype, copy=False)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
