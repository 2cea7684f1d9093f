"""Turns the scores of consecutive frames into events: a label appeared at a camera, or disappeared."""

from __future__ import annotations

from .detector import EventDetector
from .event import Event, place_of, rfc3339
from .settings import EventSettings, When

__all__ = ["Event", "EventDetector", "EventSettings", "When", "place_of", "rfc3339"]
