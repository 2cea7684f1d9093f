"""What a stream yields: observations, and changes in a camera's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..sources import CapturedFrame

if TYPE_CHECKING:
    from ..result import TagResult

CameraState: TypeAlias = Literal["live", "lost", "ended"]
"""``lost``: no frames now, and it is tried again; ``ended``: there will be no more."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The tags of one frame of one camera.

    Attributes:
        camera: the camera's name.
        frame: the whole frame, whatever the camera's region.
        result: its tags; of the region only, where the camera has one.
        age: seconds from the frame's capture until its tags were there.
        late: older than the stream's staleness budget. A file that is read frame by frame is never late.
    """

    camera: str
    frame: CapturedFrame
    result: TagResult
    age: float
    late: bool


@dataclass(frozen=True, slots=True)
class CameraChange:
    """A camera came, was lost, or ended; in its place among the camera's observations.

    Attributes:
        camera: the camera's name.
        state: what it is from now on.
        reason: why, for people and without credentials; empty for ``live``.
        wall: ``time.time()`` in seconds when it happened.
    """

    camera: str
    state: CameraState
    reason: str
    wall: float
