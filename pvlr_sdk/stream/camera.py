"""The cameras of a stream, and what the stream yields for them: observations and changes of their state."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..frames.tiles import Tiles, check_tiles
from ..sources import CapturedFrame, parse_uri
from ..sources.source import Transport

if TYPE_CHECKING:
    from ..result import TagResult

Region: TypeAlias = tuple[float, float, float, float]
"""Left, top, width and height as fractions of the frame."""


@dataclass(frozen=True)
class Camera:
    """One source that a stream watches.

    Args:
        name: its name in events and statistics; unique within a stream.
        uri: see ``open_source``. It may contain credentials and is not part of the ``repr``.
        region: (left, top, width, height) as fractions of the frame: only this part is tagged. None: the whole frame.
        tiles: (columns, rows) of tiles in which its frames, or their region, are tagged, or ``auto``; see
            :class:`pvlr_sdk.Tagger`. None: as the tagger does.
        transport: ``tcp`` or ``udp``, for RTSP.
        timeout: seconds without a frame after which it counts as lost.
        loop: restart a file at its end.
        ca, insecure, max_pixels: see ``open_source``.

    Raises:
        SourceUriError: ``uri`` matches none of the forms.
        OptionError: another argument is invalid.
    """

    name: str
    uri: str = field(repr=False)
    region: Region | None = None
    tiles: Tiles | None = None
    transport: Transport = "tcp"
    timeout: float = 5.0
    loop: bool = False
    ca: str | os.PathLike[str] | None = None
    insecure: bool = False
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            hint = 'For example "door".'
            raise errors.OptionError("name", expected="a camera's name", got=repr(self.name), hint=hint)
        parse_uri(self.uri)
        if self.region is not None:
            _check_region(self.region)
        check_tiles(self.tiles)

    def cut(self, frame: CapturedFrame) -> NDArray[np.uint8]:
        """The pixels of the region, in the frame's own order; a view, except for nv12.

        A region narrower than a pixel is one pixel wide (nv12: two, which share their chroma).
        """
        if self.region is None:
            return frame.pixels
        height, width = frame.size
        nv12 = frame.order.startswith("nv12")
        step = 2 if nv12 else 1
        left, right = _span(self.region[0], self.region[2], width, step)
        top, bottom = _span(self.region[1], self.region[3], height, step)
        if not nv12:
            return frame.pixels[top:bottom, left:right]
        luma = frame.pixels[top:bottom, left:right]
        chroma = frame.pixels[height + top // 2 : height + bottom // 2, left:right]
        return np.concatenate([luma, chroma])


CameraState: TypeAlias = Literal["live", "lost", "ended"]
"""``lost``: no frames for now, reconnecting; ``ended``: there will be no more frames."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The tags of one frame of one camera.

    Attributes:
        camera: the camera's name.
        frame: the whole frame, even if the camera has a region.
        result: its tags, or the tags of the camera's region.
        age: seconds from the frame's capture to its result.
        late: whether the age exceeds the stream's staleness. A file that is read frame by frame is never late.
    """

    camera: str
    frame: CapturedFrame
    result: TagResult
    age: float
    late: bool


@dataclass(frozen=True, slots=True)
class CameraChange:
    """A camera became live, was lost, or ended; in order with the camera's observations.

    Attributes:
        camera: the camera's name.
        state: its new state.
        reason: a message without credentials; empty for ``live``.
        wall: ``time.time()`` in seconds when it happened.
    """

    camera: str
    state: CameraState
    reason: str
    wall: float


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
    expected = "(left, top, width, height) as fractions within the frame"
    hint = "For example (0.5, 0, 0.5, 1) for the right half."
    raise errors.OptionError("region", expected=expected, got=repr(region), hint=hint)
