"""Watching cameras: :class:`Stream` turns their frames into tags, for months, without falling behind."""

from .backoff import Backoff
from .camera import Camera
from .events import CameraChange, CameraState, Observation
from .stats import CameraStats
from .stream import Stream

__all__ = ["Backoff", "Camera", "CameraChange", "CameraState", "CameraStats", "Observation", "Stream"]
