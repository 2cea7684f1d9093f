"""Frames as JPEG and attention maps as grids, for browsers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....frames.bgr import encode_jpeg, load_bgr
from ....result import TagResult
from ...sources import CapturedFrame
from .schemas import AttentionMap

BINARY = {"schema": {"type": "string", "format": "binary"}}
JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": BINARY}}}
"""FastAPI's description of a response."""
_MAX_WIDTH = 960
_QUALITY = 75
_LONGER_SIDE = 32


def encode(frame: CapturedFrame) -> bytes:
    """A frame as JPEG, scaled down to at most 960 pixels in width."""
    import cv2

    pixels = load_bgr(frame.pixels, frame.color)
    height, width = pixels.shape[:2]
    if width > _MAX_WIDTH:
        size = _MAX_WIDTH, max(1, round(height * _MAX_WIDTH / width))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(
            pixels.dtype, copy=False
        )
    return encode_jpeg(pixels, _QUALITY)


def attention_map(result: TagResult, label: str) -> AttentionMap:
    """The attention map of a label over the tagged part of the frame; its longer side has 32 cells."""
    height, width = result.frame_size
    longer = max(height, width)
    size = (
        max(1, round(_LONGER_SIDE * height / longer)),
        max(1, round(_LONGER_SIDE * width / longer)),
    )
    heat = result.attention(label, size)
    heat = heat / max(heat.max(), np.finfo(np.float32).tiny)
    rounded = np.round(heat.ravel().astype(np.float64), 3).tolist()
    return AttentionMap(label=label, rows=heat.shape[0], columns=heat.shape[1], weights=rounded)
