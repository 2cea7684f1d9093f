"""Home Assistant's MQTT discovery: a binary sensor for each label of each camera."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from .. import __version__


def state_topic(prefix: str, camera: str, label: str) -> str:
    """Where the state of a label, ``ON`` or ``OFF``, is published and kept (retained)."""
    return f"{prefix}/{camera}/{_slug(label)}/state"


def announcements(prefix: str, status: str, labels: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The retained messages, topic to payload, that make Home Assistant show the sensors.

    Args:
        prefix: what our topics begin with.
        status: the topic that says ``online`` or ``offline``.
        labels: the labels of each camera.
    """
    messages = {}
    for camera, names in labels.items():
        node = _slug(f"{prefix}_{camera}")
        for label in names:
            messages[f"homeassistant/binary_sensor/{node}/{_slug(label)}/config"] = json.dumps(
                {
                    "name": label,
                    "unique_id": f"{node}_{_slug(label)}",
                    "state_topic": state_topic(prefix, camera, label),
                    "availability_topic": status,
                    "device": {"identifiers": [node], "name": camera, "manufacturer": "pvlr_sdk"},
                    "origin": {"name": "pvlr_sdk", "sw_version": __version__},
                }
            )
    return messages


def _slug(text: str) -> str:
    """Text as it may stand in a topic that Home Assistant takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)
