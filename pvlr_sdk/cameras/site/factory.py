"""Creates the components of a site from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..._util.validation import did_you_mean, few
from ...errors import OptionError
from ...tagger import Tagger
from ..events import EventDetector, EventSettings, When, place_of
from ..events.thresholds import Minimum, Thresholds
from ..events.tracks import Rules
from ..sinks.worker import CameraStatus, SiteStatus
from ..sources import parse_uri
from ..sources.opening import check_installed
from ..sources.uri import PathUri
from ..stream import Camera, Region, Schedule
from ..stream.pace import Clock
from .camera_config import CameraConfig, RegionConfig
from .changes import Changes
from .config import EventsConfig, SiteConfig
from .health import HEALTH
from .label_names import named, without

_log = logging.getLogger(__name__)


def make_cameras(config: SiteConfig) -> list[Camera]:
    """The cameras. Raises what :class:`Camera` raises, and MissingPartError if one of them needs a missing package."""
    for camera in config.cameras.values():
        check_installed(camera.uri)
        if camera.ca is not None and not camera.ca.is_file():
            raise OptionError("ca", "a file of certificates", str(camera.ca), "Check its path.")
    return [make_camera(name, camera, config.timezone) for name, camera in config.cameras.items()]


def make_camera(name: str, camera: CameraConfig, timezone: str | None) -> Camera:
    """A camera of a site. Raises what :class:`Camera` raises."""

    def hours(section: CameraConfig | RegionConfig) -> Schedule | None:
        return Schedule(section.schedule, timezone) if section.schedule else None

    regions = {
        region: Region(config.polygon, config.exclude, hours(config))
        for region, config in camera.regions.items()
    }
    plain = camera.model_dump(exclude={"labels", "deny", "regions", "schedule"})
    return Camera(name=name, regions=regions, schedule=hours(camera), **plain)


def make_clocks(config: SiteConfig) -> dict[str, Clock]:
    """The clock of each camera: files that are tagged frame by frame have the time of their frames."""
    every = config.stream.every_frame
    return {
        name: Clock(media=every and isinstance(parse_uri(camera.uri), PathUri))
        for name, camera in config.cameras.items()
    }


def make_tagger(config: SiteConfig) -> Tagger:
    """The tagger of the configuration. Raises what :class:`Tagger` and :attr:`SiteConfig.tree` raise."""
    config.shown("")  # its errors come first
    same = config.model_dump(
        include={"words", "bank", "operating_point", "device", "precision", "trust"}
    )
    return Tagger(
        config.plan,
        num_threads=config.threads,
        allow_unsigned=config.allow_unsigned or None,
        **same,
    )


def thresholds_of(
    events: EventsConfig,
    tagger: Tagger,
    changes: Mapping[str, float] | None = None,
    proven: Mapping[str, Minimum] | None = None,
) -> Thresholds:
    """The thresholds of a site with a plan.

    Args:
        changes: by label, those that were changed while it runs. Those of unknown labels are ignored.
        proven: by label, the lowest ones at which required precisions are proven.
    """
    while True:
        labels = tagger.labels
        plan = tagger.thresholds.tolist()
        if labels == tagger.labels:  # they did not change between the two
            break
    of_plan = dict(zip(labels, plan, strict=True))
    changed = {label: value for label, value in (changes or {}).items() if label in of_plan}
    return Thresholds(of_plan, events.threshold, events.thresholds, changed, proven or {})


def make_detectors(
    config: SiteConfig, tagger: Tagger, changes: Mapping[str, float] | None = None
) -> dict[str, list[EventDetector]]:
    """The event detectors of each camera: one, or one for each of its regions; ``changes``: see :func:`thresholds_of`.

    Raises what :class:`EventDetector` raises.
    """
    thresholds = thresholds_of(config.events, tagger, changes)
    labels = tuple(thresholds.plan)
    deployed = thresholds.deployed(labels)
    if not config.cameras:  # uploads have the same thresholds
        EventDetector(
            "", labels, deployed, event_settings(config.events, CameraConfig(uri=""), thresholds)
        )
    return {
        name: [
            EventDetector(
                name,
                labels,
                deployed,
                event_settings(config.events, camera, thresholds, region),
                region,
            )
            for region in tagged_regions(camera)
        ]
        for name, camera in config.cameras.items()
    }


def tagged_regions(camera: CameraConfig) -> list[str | None]:
    """The regions of a camera with events of their own; None stands for a camera without any."""
    return [name for name, region in camera.regions.items() if not region.exclude] or [None]


def watched(
    config: SiteConfig, detectors: Mapping[str, Sequence[EventDetector]]
) -> list[EventDetector]:
    """Without those of removed regions, which only wait for the frame that ends their events."""
    cameras = ((tagged_regions(config.cameras[name]), every) for name, every in detectors.items())
    return [
        detector for regions, every in cameras for detector in every if detector.region in regions
    ]


def with_changes(
    config: SiteConfig, changes: Changes, labels: Sequence[str], *, quiet: bool = False
) -> SiteConfig:
    """A site file's configuration with changes, without settings of unknown labels; ``quiet``: without a warning."""
    return without_unknown_labels(changes.applied(config), labels, quiet=quiet)


def without_unknown_labels(
    config: SiteConfig, labels: Sequence[str], *, quiet: bool = False
) -> SiteConfig:
    """The configuration without settings of labels that the tagger does not have, each with a warning.

    The label bank or the plan may have lost labels since the settings were written, and a service must start again.
    ``quiet``: they were warned of before.
    """

    def known(place: str, section: Any, names: Sequence[str]) -> Any:
        update = {}
        for name in names:
            value = getattr(section, name)
            if unknown := named(value).difference(labels):
                text = (
                    f"{few(sorted(unknown)):.300}. {did_you_mean(min(unknown), labels, 1)}".strip()
                )
                if not quiet:
                    _log.warning("%s.%s: unknown labels are ignored: %s", place, name, text)
                update[name] = without(value, unknown)
        return section.model_copy(update=update)

    cameras = {}
    for name, camera in config.cameras.items():
        place = f"cameras.{name}"
        keys = ("thresholds", "labels")
        regions = {
            key: known(f"{place}.regions.{key}", region, keys)
            for key, region in camera.regions.items()
        }
        cameras[name] = known(place, camera, ("labels", "deny")).model_copy(
            update={"regions": regions}
        )
    events = known(
        "events",
        config.events,
        ("thresholds", "off_thresholds", "labels", "deny", "when", "groups"),
    )
    memory = config.memory and known("memory", config.memory, ("precision",))
    return config.model_copy(update={"cameras": cameras, "events": events, "memory": memory})


def event_settings(
    events: EventsConfig, camera: CameraConfig, thresholds: Thresholds, region: str | None = None
) -> EventSettings:
    """The settings of the event detector of a camera, or of its region."""
    place = camera.regions.get(region or "", RegionConfig.model_construct())
    same = {"smoothing", "margin", "min_duration", "min_gap", "cooldown", "max_per_hour", "groups"}
    return EventSettings(
        **events.model_dump(include=same),
        when={label: When(**dict(rule)) for label, rule in events.when.items()},
        on=thresholds.configured(place.thresholds),
        off={
            label: value
            for label, value in events.off_thresholds.items()
            if label not in place.thresholds
        },
        labels=next(
            (labels for labels in (place.labels, camera.labels) if labels is not None),
            events.labels,
        ),
        deny=events.deny if camera.deny is None else camera.deny,
        origins={
            label: threshold.origin
            for label, threshold in thresholds.in_use(place.thresholds).items()
        },
    )


def make_rules(
    config: SiteConfig, detectors: Mapping[str, Sequence[EventDetector]], thresholds: Thresholds
) -> list[tuple[EventDetector, Rules]]:
    """What detectors are to use with other settings and thresholds.

    Raises:
        UnknownLabelError, OptionError: a label or a threshold is invalid.
    """
    labels = tuple(thresholds.plan)
    deployed = thresholds.deployed(labels)
    rules = []
    for detector in watched(config, detectors):
        settings = event_settings(
            config.events, config.cameras[detector.camera], thresholds, detector.region
        )
        rules.append((detector, detector.prepare(settings, deployed, labels)))
    return rules


def highest_levels(detectors: Sequence[EventDetector]) -> dict[str, tuple[float, float]]:
    """The labels that detectors can report, each with its smoothed score and threshold, where the score is highest."""
    highest: dict[str, tuple[float, float]] = {}
    for detector in detectors:
        for label, level in detector.levels.items():
            highest[label] = max(
                highest.get(label, level), level, key=lambda pair: pair[0] - pair[1]
            )
    return highest


def site_status(
    config: SiteConfig,
    detectors: Mapping[str, Sequence[EventDetector]],
    states: Mapping[str, str],
    thresholds: Thresholds,
    tiles: Mapping[str, float],
) -> SiteStatus:
    """What sinks are told of a site; ``states`` and ``tiles``, the plan's thresholds for them: of its cameras."""
    labels = {
        place_of(detector.camera, detector.region): detector.labels
        for detector in watched(config, detectors)
    }
    reported = {label for names in labels.values() for label in names}
    values = {
        label: thresholds.at(label, tiles=tiles).value
        for label in sorted(reported & thresholds.plan.keys())
    }
    if config.health:
        labels = {**labels, **{name: [*labels.get(name, ()), HEALTH] for name in config.cameras}}
    cameras = {
        name: CameraStatus(states[name] in ("live", "paused"), camera.enabled)
        for name, camera in config.cameras.items()
    }
    names = {label: config.shown(label) for label in thresholds.plan}
    return SiteStatus(labels, cameras, values, config.events.groups, names)
