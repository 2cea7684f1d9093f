"""From the configuration of a site to its parts; making them all is also the check of the configuration."""

from __future__ import annotations

from ..events import EventDetector, EventSettings
from ..sources.opening import check_parts
from ..stream import Camera
from ..tagger import Tagger
from .config import CameraConfig, EventsConfig, SiteConfig


def make_cameras(config: SiteConfig) -> list[Camera]:
    """The cameras.

    Raises:
        SourceUriError, OptionError: one can't be.
        MissingPartError: what reads one of them is not installed.
    """
    for camera in config.cameras.values():
        check_parts(camera.uri)
    return [
        Camera(name, camera.uri, camera.region, camera.transport, camera.timeout, camera.loop)
        for name, camera in config.cameras.items()
    ]


def make_tagger(config: SiteConfig) -> Tagger:
    """The tagger; raises what :class:`Tagger` raises."""
    return Tagger(config.plan, device=config.device, precision=config.precision, num_threads=config.threads)


def make_detectors(config: SiteConfig, tagger: Tagger) -> dict[str, EventDetector]:
    """A detector for each camera.

    Raises:
        UnknownLabelError: the configuration names a label that the model lacks.
        OptionError: a label's lower threshold is above its upper one.
    """
    labels, thresholds = tagger.labels, tagger.thresholds
    return {
        name: EventDetector(name, labels, thresholds, event_settings(config.events, camera))
        for name, camera in config.cameras.items()
    }


def event_settings(events: EventsConfig, camera: CameraConfig) -> EventSettings:
    """What the site and one of its cameras say about events, together."""
    return EventSettings(
        smoothing=events.smoothing,
        margin=events.margin,
        min_duration=events.min_duration,
        min_gap=events.min_gap,
        on=events.thresholds,
        off=events.off_thresholds,
        labels=events.labels if camera.labels is None else camera.labels,
        deny=events.deny if camera.deny is None else camera.deny,
    )
