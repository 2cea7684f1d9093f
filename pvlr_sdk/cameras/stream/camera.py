"""The cameras of a stream, and what the stream yields for them: observations and changes of their state."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ... import errors
from ...frames.tiles import MAX_TILES, Tiles, check_tiles
from ..sources import CapturedFrame, parse_uri
from ..sources.source import Transport
from .regions import Part, Rectangle, Region, bounds_of, is_fraction
from .schedule import Schedule

if TYPE_CHECKING:
    from ...result import TagResult


@dataclass(frozen=True)
class Camera:
    """One source that a stream watches.

    Args:
        name: its name in events and statistics; unique within a stream.
        uri: see ``open_source``. It may contain credentials and is not part of the ``repr``.
        region: (left, top, width, height) as fractions of the frame: only this part is tagged. None: the whole frame.
        tiles: (columns, rows) of tiles in which its frames, or their region, are tagged, or ``auto``; see
            :class:`pvlr_sdk.Tagger`. None: as the tagger does.
        refresh: seconds for which a frame or tile that does not change keeps its scores (see ``docs/still.md``); None:
            each is computed.
        transport: ``tcp`` or ``udp``, for RTSP.
        timeout: seconds without a frame after which it counts as lost.
        loop: restart a file at its end.
        ca, insecure, max_pixels: see ``open_source``.
        regions: polygons by name, which are tagged instead of ``region``, or excluded from what is tagged. A frame has
            at most 16 parts: tagged regions times tiles.
        schedule: when it is tagged; None: always.
        enabled: whether it is tagged at all; its connection stays.

    Raises:
        SourceUriError: ``uri`` matches none of the forms.
        OptionError: another argument is invalid.
    """

    name: str
    uri: str = field(repr=False)
    region: Rectangle | None = None
    tiles: Tiles | None = None
    refresh: float | None = None
    transport: Transport = "tcp"
    timeout: float = 5.0
    loop: bool = False
    ca: str | os.PathLike[str] | None = None
    insecure: bool = False
    max_pixels: int | None = None
    regions: Mapping[str, Region] = field(default_factory=dict, hash=False)
    schedule: Schedule | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise errors.OptionError(
                "name", "a camera's name", repr(self.name), 'For example "door".'
            )
        parse_uri(self.uri)
        if self.region is not None:
            _check_region(self.region)
        check_tiles(self.tiles)
        check_parts(self.regions, self.tiles)
        if self.refresh is not None and not 0 < self.refresh < math.inf:
            raise errors.OptionError(
                "refresh", "seconds, above 0", repr(self.refresh), "Omit it to compute each frame."
            )

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What is tagged of its frames: each region, or its rectangle."""
        excluded = tuple(region.polygon for region in self.regions.values() if region.exclude)
        parts = tuple(
            Part(
                name,
                bounds_of(region.polygon),
                region.polygon,
                excluded,
                region.schedule or self.schedule,
            )
            for name, region in self.regions.items()
            if not region.exclude
        )
        return parts or (Part(None, self.region or (0, 0, 1, 1), None, excluded, self.schedule),)


CameraState: TypeAlias = Literal["live", "paused", "lost", "ended"]
"""``paused``: outside its hours, or switched off; ``lost``: no frames, reconnecting; ``ended``: no more frames."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The tags of one frame of one camera.

    Attributes:
        camera: the camera's name.
        frame: the whole frame, even if the camera has a region.
        result: its tags, or the tags of the camera's region. With named regions, a label's logit is the maximum over
            those that are within their hours, which are its ``tiles``; its features are of the first.
        age: seconds from the frame's capture to its result; from an earlier frame's if a tile that changed in it is
            still to be computed, see ``Camera.refresh``.
        late: whether the age exceeds the stream's staleness. A file that is read frame by frame is never late.
        regions: the result of each named region; of a camera without any, ``result`` under None.
    """

    camera: str
    frame: CapturedFrame
    result: TagResult
    age: float
    late: bool
    regions: Mapping[str | None, TagResult] = field(default_factory=dict)


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


def _check_region(region: Rectangle) -> None:
    if isinstance(region, tuple) and len(region) == 4 and all(map(is_fraction, region)):
        left, top, width, height = region
        # Fractions such as 0.7 + 0.3 may add up to a little more than 1.
        if min(width, height) > 0 and max(left + width, top + height) <= 1 + 1e-9:
            return
    raise errors.OptionError(
        "region",
        "(left, top, width, height) as fractions within the frame",
        repr(region),
        "For example (0.5, 0, 0.5, 1) for the right half.",
    )


class _Shape(Protocol):
    @property
    def exclude(self) -> bool: ...


def check_parts(regions: Mapping[str, _Shape], tiles: Tiles | None) -> None:
    """Raises OptionError if regions, each in tiles (``auto`` gives as few as needed), are too many parts of a frame."""
    layout = check_tiles(tiles)
    columns, rows = (1, 1) if layout is None or isinstance(layout, str) else layout
    tagged = sum(not region.exclude for region in regions.values())
    parts = tagged * columns * rows
    if parts > MAX_TILES:
        raise errors.OptionError(
            "regions",
            f"at most {MAX_TILES} parts of a frame, its regions times their tiles",
            f"{parts} parts = {tagged} regions x {columns * rows} tiles",
            "Use fewer regions or fewer tiles: each part of each frame takes an inference.",
        )


def check_cameras(cameras: Sequence[Camera], **seconds: float | None) -> None:
    """Raises OptionError if two cameras have the same name, there is none, or a number of seconds is invalid."""
    names = [camera.name for camera in cameras]
    if not names or len(set(names)) < len(names):
        got, hint = (
            (repr(names), "Rename one of them.") if names else ("none", "Pass at least one Camera.")
        )
        raise errors.OptionError("cameras", "cameras with unique names", got, hint)
    for name, value in seconds.items():
        if value is not None and not (value >= 0 and value < float("inf")):
            raise errors.OptionError(
                name, "seconds, 0 or more", repr(value), "Omit it to use the default."
            )
