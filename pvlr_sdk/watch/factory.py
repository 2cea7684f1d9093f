"""Creates the components of a site from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ..errors import OptionError
from ..events import EventDetector, EventSettings
from ..sources.opening import check_installed
from ..stream import Camera
from ..tagger import Tagger
from .changes import without
from .config import CameraConfig, EventsConfig, SiteConfig

_log = logging.getLogger(__name__)


def make_cameras(config: SiteConfig) -> list[Camera]:
    """The cameras. Raises what :class:`Camera` raises, and MissingPartError if one of them needs a missing package."""
    for camera in config.cameras.values():
        check_installed(camera.uri)
        if camera.ca is not None and not camera.ca.is_file():
            raise OptionError("ca", expected="a file of certificates", got=str(camera.ca), hint="Check its path.")
    return [
        Camera(name=name, **camera.model_dump(exclude={"labels", "deny"})) for name, camera in config.cameras.items()
    ]


def make_tagger(config: SiteConfig) -> Tagger:
    """The tagger of the configuration. Raises what :class:`Tagger` raises."""
    return Tagger(
        config.plan,
        words=config.words,
        bank=config.bank,
        operating_point=config.operating_point,
        device=config.device,
        precision=config.precision,
        num_threads=config.threads,
        trust=config.trust,
        allow_unsigned=config.allow_unsigned or None,
    )


def make_detectors(config: SiteConfig, tagger: Tagger) -> dict[str, EventDetector]:
    """An event detector for each camera. Raises what :class:`EventDetector` raises."""
    labels, thresholds = tagger.labels, tagger.thresholds
    if not config.cameras:  # uploads have the same thresholds
        EventDetector("", labels, thresholds, event_settings(config.events, CameraConfig(uri=""), labels))
    return {
        name: EventDetector(name, labels, thresholds, event_settings(config.events, camera, labels))
        for name, camera in config.cameras.items()
    }


def without_unknown_labels(config: SiteConfig, labels: Sequence[str]) -> SiteConfig:
    """The configuration without settings of labels that the tagger does not have, each with a warning.

    The label bank or the plan may have lost labels since the settings were written, and a service must start again.
    """

    def known(section: Any, names: Sequence[str]) -> Any:
        update = {}
        for name in names:
            value = getattr(section, name)
            if unknown := frozenset(value or ()).difference(labels):
                _log.warning("%s: unknown labels are ignored: %.300s", name, ", ".join(map(repr, sorted(unknown))))
                update[name] = without(value, unknown)
        return section.model_copy(update=update)

    cameras = {name: known(camera, ("labels", "deny")) for name, camera in config.cameras.items()}
    events = known(config.events, ("thresholds", "off_thresholds", "labels", "deny"))
    return config.model_copy(update={"cameras": cameras, "events": events})


def event_settings(events: EventsConfig, camera: CameraConfig, labels: Sequence[str]) -> EventSettings:
    """The settings of a camera's event detector; ``labels`` are the plan's labels."""
    on = {} if events.threshold is None else dict.fromkeys(labels, events.threshold)
    return EventSettings(
        smoothing=events.smoothing,
        margin=events.margin,
        min_duration=events.min_duration,
        min_gap=events.min_gap,
        on={**on, **events.thresholds},
        off=events.off_thresholds,
        labels=events.labels if camera.labels is None else camera.labels,
        deny=events.deny if camera.deny is None else camera.deny,
    )
