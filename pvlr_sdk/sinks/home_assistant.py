"""Home Assistant's discovery over MQTT: each camera is a device (https://www.home-assistant.io/integrations/mqtt)."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from .._util.escape import sensor_ids, topic_level
from .._util.version import __version__

MIGRATE = json.dumps({"migrate_discovery": True})
"""Keeps the settings of an entity whose own configuration is about to be replaced by that of a device."""


class Sensor(NamedTuple):
    """The retained topics of a label: ``ON`` or ``OFF``, and its score in percent."""

    state_topic: str
    score_topic: str


class Device:
    """A camera as a device: for each label a binary sensor and a sensor of the score, and an entity of all events.

    Args:
        prefix: of the topics of events, states and scores.
        discovery: of the topics that Home Assistant reads configurations from.
        status: the topic of ``online`` and ``offline``.
        labels: the labels that have sensors.

    Attributes:
        topic: where its configuration is retained.
        earlier: the topics of version 0.2, one for each label; MQTT's ``+`` stands for it.
        sensors: by label.
    """

    def __init__(self, prefix: str, discovery: str, status: str, camera: str, labels: Sequence[str]) -> None:
        (self._node,) = sensor_ids([f"{prefix}_{camera}"]).values()
        ids = sensor_ids(labels)
        self._camera, self._status, self._ids = camera, status, {label: ids[label] for label in labels}
        self.topic = f"{discovery}/device/{self._node}/config"
        self.earlier = f"{discovery}/binary_sensor/{self._node}/+/config"
        self._events = f"{prefix}/{topic_level(camera)}/events"
        base = f"{prefix}/{topic_level(camera)}"
        self.sensors = {
            label: Sensor(f"{base}/{name}/state", f"{base}/{name}/score") for label, name in self._ids.items()
        }

    @property
    def components(self) -> set[str]:
        """The names of the labels in the configuration."""
        return set(self._ids.values())

    def config(self, gone: Collection[str] = ()) -> str:
        """The configuration, as JSON; ``gone``: components that Home Assistant is to remove."""
        components: dict[str, dict[str, Any]] = {}
        for name in gone:
            components |= {name: {"platform": "binary_sensor"}, f"{name}_score": {"platform": "sensor"}}
        for label, name in self._ids.items():
            sensor, identity = self.sensors[label], f"{self._node}_{name}"
            components[name] = {
                "platform": "binary_sensor",
                "name": label,
                "unique_id": identity,
                "state_topic": sensor.state_topic,
            }
            components[f"{name}_score"] = {
                "platform": "sensor",
                "name": f"{label} score",
                "unique_id": f"{identity}_score",
                "state_topic": sensor.score_topic,
                "unit_of_measurement": "%",
                "state_class": "measurement",
                "entity_category": "diagnostic",
            }
        components["events"] = {
            "platform": "event",
            "name": "Events",
            "unique_id": f"{self._node}_events",
            "state_topic": self._events,
            "event_types": ["on", "off"],
            # The fields of the message become attributes of the event.
            "value_template": "{{ dict(value_json, event_type=value_json.state) | tojson }}",
        }
        return json.dumps(
            {
                "device": {"identifiers": [self._node], "name": self._camera, "manufacturer": "pvlr_sdk"},
                "origin": {"name": "pvlr_sdk", "sw_version": __version__},
                "availability_topic": self._status,
                "components": components,
            }
        )
