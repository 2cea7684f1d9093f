"""Creates the components of a site from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..._util.validation import did_you_mean, few
from ...errors import OptionError
from ...tagger import Tagger
from ..events import EventDetector, EventSettings, When, place_of
from ..events.tracks import Rules
from ..sinks.worker import CameraStatus, SiteStatus
from ..sources import parse_uri
from ..sources.opening import check_installed
from ..sources.uri import PathUri
from ..stream import Camera, Region, Schedule
from ..stream.pace import Clock
from .camera_config import CameraConfig, RegionConfig
from .changes import named, without
from .config import EventsConfig, SiteConfig
from .health import HEALTH

_log = logging.getLogger(__name__)


def make_cameras(config: SiteConfig) -> list[Camera]:
    """The cameras. Raises what :class:`Camera` raises, and MissingPartError if one of them needs a missing package."""
    for camera in config.cameras.values():
        check_installed(camera.uri)
        if camera.ca is not None and not camera.ca.is_file():
            raise OptionError("ca", expected="a file of certificates", got=str(camera.ca), hint="Check its path.")
    return [make_camera(name, camera, config.timezone) for name, camera in config.cameras.items()]


def make_camera(name: str, camera: CameraConfig, timezone: str | None) -> Camera:
    """A camera of a site. Raises what :class:`Camera` raises."""

    def hours(of: CameraConfig | RegionConfig) -> Schedule | None:
        return Schedule(of.schedule, timezone) if of.schedule else None

    regions = {region: Region(one.polygon, one.exclude, hours(one)) for region, one in camera.regions.items()}
    plain = camera.model_dump(exclude={"labels", "deny", "regions", "schedule"})
    return Camera(name=name, regions=regions, schedule=hours(camera), **plain)


def make_clocks(config: SiteConfig) -> dict[str, Clock]:
    """The clock of each camera: files that are tagged frame by frame have the time of their frames."""
    every = config.stream.every_frame
    return {
        name: Clock(media=every and isinstance(parse_uri(one.uri), PathUri)) for name, one in config.cameras.items()
    }


def make_tagger(config: SiteConfig) -> Tagger:
    """The tagger of the configuration. Raises what :class:`Tagger` raises."""
    same = config.model_dump(include={"words", "bank", "operating_point", "device", "precision", "trust"})
    return Tagger(config.plan, num_threads=config.threads, allow_unsigned=config.allow_unsigned or None, **same)


def make_detectors(config: SiteConfig, tagger: Tagger) -> dict[str, list[EventDetector]]:
    """The event detectors of each camera: one, or one for each of its regions. Raises what :class:`EventDetector`
    raises."""
    labels, thresholds = tagger.labels, tagger.thresholds
    if not config.cameras:  # uploads have the same thresholds
        EventDetector("", labels, thresholds, event_settings(config.events, CameraConfig(uri=""), labels))
    return {
        name: [
            EventDetector(name, labels, thresholds, event_settings(config.events, camera, labels, region), region)
            for region in tagged_regions(camera)
        ]
        for name, camera in config.cameras.items()
    }


def tagged_regions(camera: CameraConfig) -> list[str | None]:
    """The regions of a camera with events of their own; None stands for a camera without any."""
    return [name for name, one in camera.regions.items() if not one.exclude] or [None]


def watched(config: SiteConfig, detectors: Mapping[str, Sequence[EventDetector]]) -> list[EventDetector]:
    """Without those of removed regions, which only wait for the frame that ends their events."""
    cameras = ((tagged_regions(config.cameras[name]), every) for name, every in detectors.items())
    return [one for regions, every in cameras for one in every if one.region in regions]


def without_unknown_labels(config: SiteConfig, labels: Sequence[str]) -> SiteConfig:
    """The configuration without settings of labels that the tagger does not have, each with a warning.

    The label bank or the plan may have lost labels since the settings were written, and a service must start again.
    """

    def known(place: str, section: Any, names: Sequence[str]) -> Any:
        update = {}
        for name in names:
            value = getattr(section, name)
            if unknown := named(value).difference(labels):
                text = f"{few(sorted(unknown)):.300}. {did_you_mean(min(unknown), labels, 1)}".strip()
                _log.warning("%s.%s: unknown labels are ignored: %s", place, name, text)
                update[name] = without(value, unknown)
        return section.model_copy(update=update)

    cameras = {}
    for name, camera in config.cameras.items():
        of, own = f"cameras.{name}", ("thresholds", "labels")
        regions = {key: known(f"{of}.regions.{key}", one, own) for key, one in camera.regions.items()}
        cameras[name] = known(of, camera, ("labels", "deny")).model_copy(update={"regions": regions})
    events = known("events", config.events, ("thresholds", "off_thresholds", "labels", "deny", "when", "groups"))
    memory = config.memory and known("memory", config.memory, ("precision",))
    return config.model_copy(update={"cameras": cameras, "events": events, "memory": memory})


def event_settings(
    events: EventsConfig, camera: CameraConfig, labels: Sequence[str], region: str | None = None
) -> EventSettings:
    """The settings of the event detector of a camera, or of its region; ``labels`` are the plan's labels."""
    own = camera.regions.get(region or "", RegionConfig.model_construct())
    on = {} if events.threshold is None else dict.fromkeys(labels, events.threshold)
    same = {"smoothing", "margin", "min_duration", "min_gap", "cooldown", "max_per_hour", "groups"}
    return EventSettings(
        **events.model_dump(include=same),
        when={label: When(**dict(one)) for label, one in events.when.items()},
        on={**on, **events.thresholds, **own.thresholds},
        off={label: value for label, value in events.off_thresholds.items() if label not in own.thresholds},
        labels=next((one for one in (own.labels, camera.labels) if one is not None), events.labels),
        deny=events.deny if camera.deny is None else camera.deny,
    )


def make_rules(
    events: EventsConfig,
    config: SiteConfig,
    detectors: Mapping[str, Sequence[EventDetector]],
    tagger: Tagger,
    least: Mapping[str, float],
) -> list[tuple[EventDetector, Rules]]:
    """What detectors are to use with other settings; ``least``: thresholds of labels below which none may be.

    Raises:
        UnknownLabelError, OptionError: a label or a threshold is invalid.
    """
    labels = tagger.labels
    thresholds = np.maximum(tagger.thresholds, [least.get(label, 0.0) for label in labels])
    found = []
    for one in watched(config, detectors):
        settings = event_settings(events, config.cameras[one.camera], labels, one.region)
        on = {label: max(value, least.get(label, 0.0)) for label, value in settings.on.items()}
        found.append((one, one.prepare(replace(settings, on=on), thresholds, labels)))
    return found


def highest_levels(detectors: Sequence[EventDetector]) -> dict[str, tuple[float, float]]:
    """The labels that detectors can report, each with its smoothed score and threshold, where the score is highest."""
    found: dict[str, tuple[float, float]] = {}
    for detector in detectors:
        for label, level in detector.levels.items():
            found[label] = max(found.get(label, level), level, key=lambda pair: pair[0] - pair[1])
    return found


def site_status(
    config: SiteConfig,
    detectors: Mapping[str, Sequence[EventDetector]],
    states: Mapping[str, str],
    tagger: Tagger,
    least: Mapping[str, float],
) -> SiteStatus:
    """What sinks are told of a site; ``states``: of its cameras; ``least``: as for :func:`make_rules`."""
    events = config.events
    labels = {place_of(one.camera, one.region): one.labels for one in watched(config, detectors)}
    plan = dict(zip(tagger.labels, tagger.thresholds.tolist(), strict=False))
    general = plan if events.threshold is None else dict.fromkeys(plan, events.threshold)
    thresholds = {
        label: max(events.thresholds.get(label, general.get(label, 1.0)), least.get(label, 0.0))
        for label in sorted({label for one in labels.values() for label in one})
    }
    if config.health:
        labels = {**labels, **{name: [*labels.get(name, ()), HEALTH] for name in config.cameras}}
    cameras = {
        name: CameraStatus(states[name] in ("live", "paused"), one.enabled) for name, one in config.cameras.items()
    }
    return SiteStatus(labels, cameras, thresholds, events.groups)
