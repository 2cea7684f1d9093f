"""Watching cameras: :class:`Stream` tags their frames around the clock without falling behind."""

from .camera import Camera, CameraChange, CameraState, Observation
from .regions import Region
from .schedule import Schedule
from .stats import CameraStats
from .stream import Stream

__all__ = [
    "Camera",
    "CameraChange",
    "CameraState",
    "CameraStats",
    "Observation",
    "Region",
    "Schedule",
    "Stream",
]
