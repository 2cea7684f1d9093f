"""What to watch: a camera's name, its source and the part of its picture that counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..sources import CapturedFrame, parse_uri

Region: TypeAlias = tuple[float, float, float, float]
"""Left, top, width and height as fractions of the picture."""


@dataclass(frozen=True)
class Camera:
    """One source that a stream watches.

    Args:
        name: what it is called in events and statistics; unique within a stream.
        uri: what ``open_source`` takes. It may hold credentials and isn't part of the ``repr``.
        region: (left, top, width, height) as fractions of the picture: only this part is tagged. None: all of it.
        transport: ``tcp`` or ``udp``, for RTSP.
        timeout: seconds without a frame after which it counts as lost.
        loop: begin again at a file's end.

    Raises:
        SourceUriError: ``uri`` follows no form of the grammar.
        OptionError: another argument can't be.
    """

    name: str
    uri: str = field(repr=False)
    region: Region | None = None
    transport: str = "tcp"
    timeout: float = 5.0
    loop: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise errors.OptionError(
                "name", expected="a camera's name", got=repr(self.name), hint='For example "door".'
            )
        parse_uri(self.uri)
        if self.region is not None:
            _check_region(self.region)

    def cut(self, frame: CapturedFrame) -> NDArray[np.uint8]:
        """The pixels of the region, in the frame's own order; without a copy, except for nv12.

        A region narrower than a pixel is one pixel wide (nv12: two, whose chroma they share).
        """
        if self.region is None:
            return frame.pixels
        height, width = frame.size
        step = 2 if frame.order == "nv12" else 1
        left, right = _span(self.region[0], self.region[2], width, step)
        top, bottom = _span(self.region[1], self.region[3], height, step)
        if frame.order != "nv12":
            return frame.pixels[top:bottom, left:right]
        luma = frame.pixels[top:bottom, left:right]
        chroma = frame.pixels[height + top // 2 : height + bottom // 2, left:right]
        return np.concatenate([luma, chroma])


def _span(start: float, extent: float, length: int, step: int) -> tuple[int, int]:
    """The first pixel and the one after the last, both multiples of ``step``, within ``length``."""
    cells = length // step
    first = min(int(start * cells + 0.5), cells - 1)
    return first * step, max(first + 1, min(int((start + extent) * cells + 0.5), cells)) * step


def _check_region(region: Region) -> None:
    numbers = (
        isinstance(region, tuple) and len(region) == 4 and all(isinstance(value, (int, float)) for value in region)
    )
    if numbers and all(math.isfinite(value) for value in region):
        left, top, width, height = region
        # Fractions such as 0.7 + 0.3 may add up to a little more than 1.
        if min(left, top) >= 0 and min(width, height) > 0 and max(left + width, top + height) <= 1 + 1e-9:
            return
    raise errors.OptionError(
        "region",
        expected="(left, top, width, height) as fractions within the picture",
        got=repr(region),
        hint="(0.5, 0, 0.5, 1) is the right half.",
    )
