"""Selections from a stream's events."""

from __future__ import annotations

from collections.abc import Iterable

from pvlr_sdk.cameras.stream import CameraChange, Observation


def observations(events: Iterable[Observation | CameraChange]) -> list[Observation]:
    return [event for event in events if isinstance(event, Observation)]


def changes(events: Iterable[Observation | CameraChange]) -> list[tuple[str, str]]:
    """The changes of cameras, as pairs of camera and state."""
    return [(event.camera, event.state) for event in events if isinstance(event, CameraChange)]
