"""Home Assistant's discovery over MQTT (https://www.home-assistant.io/integrations/mqtt): each camera is a device, and
the site one, whose entities change its thresholds."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ... import errors
from ..._util.escape import sensor_ids, topic_level
from ..._util.plain_json import Limits, read_json
from ..._util.version import __version__
from ..events import Event, place_of
from ..events.event import UNKNOWN
from .worker import SiteStatus

CONFIG = Limits(size=2**21, values=100_000, depth=8)
"""Of a retained configuration: sensors of 3,000 labels."""
_COMPONENT = re.compile("[A-Za-z0-9_-]{1,1100}")
_PLATFORMS = frozenset({"binary_sensor", "sensor", "event", "image", "switch", "number"})
MIGRATE = json.dumps({"migrate_discovery": True})
"""Keeps the settings of an entity whose own configuration is about to be replaced by that of a device."""
SET = "/set"
"""Ends the topic of commands for what the topic before it shows."""


@dataclass(frozen=True)
class Topics:
    """The topics below ``prefix``; ``discovery`` is the prefix of those that Home Assistant reads configurations from.

    ``place`` is a camera, or a region as ``CAMERA:REGION``; ``sensor`` is the identifier of a label.
    """

    prefix: str
    discovery: str

    @property
    def status(self) -> str:
        """``online`` or ``offline``: this process."""
        return f"{self.prefix}/status"

    def events(self, place: str) -> str:
        return self._of(place, "events")

    def state(self, place: str, sensor: str) -> str:
        """``ON`` or ``OFF``."""
        return self._of(place, f"{sensor}/state")

    def score(self, place: str, sensor: str) -> str:
        """In percent."""
        return self._of(place, f"{sensor}/score")

    def group(self, place: str, sensor: str) -> str:
        """The label that is present of a group of labels, or ``unknown``."""
        return self._of(place, f"{sensor}/group")

    def availability(self, place: str) -> str:
        """``online`` or ``offline``: the camera of a place."""
        return self._of(place.partition(":")[0], "availability")

    def enabled(self, place: str) -> str:
        """``ON`` or ``OFF``: whether the camera of a place is tagged."""
        return self._of(place.partition(":")[0], "enabled")

    def image(self, place: str) -> str:
        """A JPEG: the snapshot of the last event of the camera of a place."""
        return self._of(place.partition(":")[0], "image")

    def threshold(self, sensor: str) -> str:
        """The threshold of a label."""
        return f"{self.prefix}/threshold/{sensor}"

    def node(self, place: str | None) -> str:
        """The identifier of the device of a place; None: of the site."""
        text = self.prefix if place is None else f"{self.prefix}_{place}"
        return sensor_ids([text])[text]

    def device(self, node: str) -> str:
        """Where the configuration of a device is retained; MQTT's ``+`` stands for any."""
        return f"{self.discovery}/device/{node}/config"

    def earlier(self, place: str) -> str:
        """Where version 0.2 retained configurations, one for each label; MQTT's ``+`` stands for it."""
        return f"{self.discovery}/binary_sensor/{self.node(place)}/+/config"

    def _of(self, place: str, what: str) -> str:
        return f"{self.prefix}/{topic_level(place)}/{what}"


@dataclass(frozen=True)
class Device:
    """A device of Home Assistant.

    Attributes:
        place: a camera or a region of it; None: the site.
        available: topics that must all have ``online``.
        components: its entities, by identifier.
    """

    topics: Topics
    place: str | None
    available: tuple[str, ...]
    components: Mapping[str, Mapping[str, Any]]

    @property
    def topic(self) -> str:
        """Where its configuration is retained."""
        return self.topics.device(self.topics.node(self.place))

    @property
    def platforms(self) -> dict[str, str]:
        """The platform of each component."""
        return {name: component["platform"] for name, component in self.components.items()}

    def config(self, gone: Mapping[str, str]) -> str:
        """The configuration, as JSON; ``gone``: components that Home Assistant is to remove, with their platforms."""
        removed = {name: {"platform": platform} for name, platform in gone.items()}
        node = self.topics.node(self.place)
        components = {
            name: {**component, "unique_id": f"{node}_{name}"}
            for name, component in self.components.items()
        }
        return json.dumps(
            {
                "device": {
                    "identifiers": [node],
                    "name": self.place or self.topics.prefix,
                    "manufacturer": "pvlr_sdk",
                },
                "origin": {"name": "pvlr_sdk", "sw_version": __version__},
                "availability": [{"topic": topic} for topic in self.available],
                "availability_mode": "all",
                "components": {**removed, **components},
            }
        )


@dataclass(frozen=True)
class HomeAssistant:
    """What is published of a site, as :class:`pvlr_sdk.cameras.sinks.mqtt.MqttSettings` wants it."""

    topics: Topics
    discovery: bool
    image: bool
    commands: bool

    def devices(self, site: SiteStatus) -> dict[str, Device]:
        """The devices of a site by topic: its places in their order, and the site itself if it takes commands."""
        if not self.discovery:
            return {}
        devices = [
            self._camera(site, place, labels, _groups(site, place))
            for place, labels in site.labels.items()
        ]
        if self.commands:
            devices.append(self._site(site))
        return {device.topic: device for device in devices}

    def announced(self, config: bytes) -> dict[str, str]:
        """The platforms of the components in a retained configuration, which any client may have written; empty if an
        earlier process of this site did not."""
        with suppress(ValueError, TypeError, LookupError, AttributeError):
            read = read_json(config, CONFIG)
            if read["origin"]["name"] == "pvlr_sdk" and read["availability"][0] == {
                "topic": self.topics.status
            }:
                return {
                    name: component["platform"]
                    for name, component in read["components"].items()
                    if len(component) > 1
                    and component["platform"] in _PLATFORMS
                    and _COMPONENT.fullmatch(name)
                }
        return {}

    def states(self, site: SiteStatus, before: Mapping[str, str]) -> dict[str, str]:
        """The retained text of each topic; of sensors of labels what it was ``before``."""
        topics = self.topics
        sensors = dict[str, str]()
        for place, labels in site.labels.items() if self.discovery else ():
            for sensor in sensor_ids(labels).values():
                sensors |= {topics.state(place, sensor): "OFF", topics.score(place, sensor): "0"}
            for sensor, _, states in _groups(site, place):
                topic = topics.group(place, sensor)
                sensors[topic] = UNKNOWN
                if before.get(topic) not in states:  # its label is gone
                    before = {**before, topic: UNKNOWN}
        return {topic: before.get(topic, text) for topic, text in sensors.items()} | self.shown(
            site
        )

    def changed(self, site: SiteStatus, event: Event) -> dict[str, str]:
        """Of these, the topics of sensors of labels and groups that an event changes."""
        topics = self.topics
        place = place_of(event.camera, event.region)
        sensor = sensor_ids(site.labels.get(place, ())).get(event.label)
        if sensor is None:
            return {}
        changed = {topics.state(place, sensor): event.state.upper()}
        changed[topics.score(place, sensor)] = f"{100 * event.score:.1f}"
        if (state := event.group_state) and (
            group := sensor_ids(site.groups).get(event.group or "")
        ):
            changed[topics.group(place, group)] = state
        return changed

    def shown(self, site: SiteStatus) -> dict[str, str]:
        """Of these, the topics of cameras and thresholds."""
        topics = self.topics
        shown = dict[str, str]()
        for camera, state in site.cameras.items() if self.discovery or self.commands else ():
            shown[topics.availability(camera)] = "online" if state.available else "offline"
            shown[topics.enabled(camera)] = "ON" if state.enabled else "OFF"
        for label, sensor in sensor_ids(site.thresholds).items() if self.commands else ():
            shown[topics.threshold(sensor)] = f"{site.thresholds[label]:.4g}"
        return shown

    def _camera(
        self,
        site: SiteStatus,
        place: str,
        labels: Collection[str],
        groups: Collection[tuple[str, str, list[str]]],
    ) -> Device:
        """For each label a binary sensor and its score, for each group its state; the events, the snapshot of the last
        one, and a switch."""
        topics = self.topics
        components = dict[str, dict[str, Any]]()
        for label, name in sensor_ids(labels).items():
            components[name] = {
                "platform": "binary_sensor",
                "name": site.shown(label),
                "state_topic": topics.state(place, name),
            }
            components[f"{name}_score"] = {
                "platform": "sensor",
                "name": f"{site.shown(label)} score",
                "state_topic": topics.score(place, name),
                "unit_of_measurement": "%",
                "state_class": "measurement",
                "entity_category": "diagnostic",
            }
        for sensor, name, states in groups:
            shown = {
                "state_topic": topics.group(place, sensor),
                "device_class": "enum",
                "options": states,
            }
            components[f"{sensor}_group"] = {"platform": "sensor", "name": name, **shown}
        components["events"] = {
            "platform": "event",
            "name": "Events",
            "state_topic": topics.events(place),
            "event_types": ["on", "off"],
            # The fields of the message become attributes of the event.
            "value_template": "{{ dict(value_json, event_type=value_json.state) | tojson }}",
        }
        if self.image:
            picture = {"image_topic": topics.image(place), "content_type": "image/jpeg"}
            components["image"] = {"platform": "image", "name": "Last event", **picture}
        if self.commands:
            switch = _changed_through(topics.enabled(place))
            components["enabled"] = {"platform": "switch", "name": "Tagging", **switch}
        return Device(topics, place, (topics.status, topics.availability(place)), components)

    def _site(self, site: SiteStatus) -> Device:
        """For each label its threshold."""
        scale = {"min": 0, "max": 1, "step": 0.01, "mode": "box"}
        components = {
            f"{name}_threshold": {
                "platform": "number",
                "name": f"{site.shown(label)} threshold",
                **_changed_through(self.topics.threshold(name)),
                **scale,
            }
            for label, name in sensor_ids(site.thresholds).items()
        }
        return Device(self.topics, None, (self.topics.status,), components)


def _groups(site: SiteStatus, place: str) -> list[tuple[str, str, list[str]]]:
    """The identifier, the name and the possible states of each group of labels that a place can report."""
    ids = sensor_ids(site.groups)
    labels = site.labels[place]
    states = {
        name: [label for label in group if label in labels] for name, group in site.groups.items()
    }
    return [(ids[name], name, [*labels, UNKNOWN]) for name, labels in states.items() if labels]


def _changed_through(topic: str) -> dict[str, str]:
    return {"state_topic": topic, "command_topic": topic + SET, "entity_category": "config"}


def threshold(text: str) -> float:
    """The threshold that a command asks for. Raises OptionError."""
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 1:
            return value
    raise errors.OptionError("command", "a number from 0 to 1", ascii(text), "For example 0.7.")
