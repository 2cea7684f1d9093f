"""From scores that change with every frame to events: this label appeared at this camera, and it went away."""

from __future__ import annotations

from .detector import EventDetector, EventSettings
from .event import Event, rfc3339

__all__ = ["Event", "EventDetector", "EventSettings", "rfc3339"]
