"""A complete installation in one object: cameras, tagger, events and sinks, from one configuration."""

from __future__ import annotations

from .camera_config import CameraConfig
from .config import EventsConfig, SiteConfig, load_config
from .site import Site

__all__ = ["CameraConfig", "EventsConfig", "Site", "SiteConfig", "load_config"]
