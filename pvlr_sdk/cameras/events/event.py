"""An event: a label appeared at a camera, or disappeared."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any, Literal

UNKNOWN = "unknown"
"""The state of a group of which no label is present."""
REPLACED = "replaced by "


@dataclass(frozen=True)
class Event:
    """A label appeared (``state`` is ``on``) or disappeared (``off``, with the same ``id``).

    Times are seconds since the epoch. They are those of the frames, not of the delivery, and within an event they
    follow a monotonic clock from its start: an event never ends before it began, even if the system clock is set.

    Attributes:
        id: unique across processes and machines.
        camera: the camera's name.
        label: the label's name.
        time: time of the frame that caused it, or when the camera was lost or stopped.
        score: the smoothed score at that frame, 0 to 1.
        peak: the highest smoothed score so far; ``peak_time`` is the time of its frame.
        start: time of the frame whose smoothed score first reached the lower threshold.
        end: time of the frame that first fell below the lower threshold, or of the last frame; None if ``on``.
        reason: why it ended: ``score``, ``replaced by LABEL`` (of its group), ``label excluded``, ``stopped``,
            ``camera lost: ...``, ``camera ended: ...``, ``failed: ...``, ``not watched`` (outside its hours, or the
            region was removed); None if ``on``.
        snapshot: path of a JPEG of the frame that started it, if snapshots are enabled.
        region: the name of the camera's region; None: the camera has none.
        group: the name of the group of labels that exclude each other; None: the label is in none.
        health: of a camera's health, what is wrong: ``covered``, ``turned``, ``blurred``, ``frozen`` or ``dark``.
    """

    state: Literal["on", "off"]
    id: str
    camera: str
    label: str
    time: float
    score: float
    peak: float
    peak_time: float
    start: float
    end: float | None = None
    reason: str | None = None
    snapshot: str | None = None
    region: str | None = None
    group: str | None = None
    health: str | None = None

    @property
    def group_state(self) -> str | None:
        """The label that its group has now, or ``unknown``; None: it has no group, or its next label follows."""
        if self.group is None or (self.reason or "").startswith(REPLACED):
            return None
        return self.label if self.state == "on" else UNKNOWN

    def to_dict(self) -> dict[str, Any]:
        """The event as numbers and strings, with RFC 3339 times in UTC and without fields that are None.

        ``off`` also has the ``duration`` in seconds.
        """
        values: dict[str, Any] = {"event": self.state}
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name in _TIMES:
                value = rfc3339(value)
            elif isinstance(value, float):
                value = round(value, 4)
            values[field.name] = value
        if self.end is not None:
            values["duration"] = round(self.end - self.start, 3)
        return values

    def to_json(self) -> str:
        """``to_dict`` as one line of ASCII."""
        return json.dumps(self.to_dict())

    def pack(self) -> str:
        """A lossless string for :meth:`unpack`."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def unpack(cls, text: str) -> Event:
        """The event from the string of :meth:`pack`. Raises ValueError if another version of the SDK packed it."""
        values = json.loads(text)
        # Events that wait on disk may be from an earlier version.
        if not isinstance(values, dict) or set(values) | set(_LATER) != {
            field.name for field in fields(cls)
        }:
            raise ValueError("not an event of this version")
        return cls(**values)


def place_of(camera: str, region: str | None) -> str:
    """A name for a camera's region that no camera and no other region has: ``yard:gate``; without one, the camera's."""
    return camera if region is None else f"{camera}:{region}"


_LATER = ("region", "group", "health")
_TIMES = frozenset({"time", "peak_time", "start", "end"})


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as UTC with milliseconds: ``2026-01-31T12:00:00.250Z``."""
    moment = datetime.fromtimestamp(round(seconds, 3), timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
