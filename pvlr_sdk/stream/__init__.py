"""Watching cameras: :class:`Stream` tags their frames around the clock without falling behind."""

from .camera import Camera, CameraChange, CameraState, Observation
from .reader import Backoff
from .stats import CameraStats
from .stream import Stream

__all__ = ["Backoff", "Camera", "CameraChange", "CameraState", "CameraStats", "Observation", "Stream"]
