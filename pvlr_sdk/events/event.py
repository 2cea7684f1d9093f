"""One notice: a label appeared at a camera, or it went away."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any, Literal


@dataclass(frozen=True)
class Event:
    """A label appeared (``state`` is ``on``) or went away (``off``); both notices of one event have the same ``id``.

    Times are seconds since the epoch. They belong to the frames, not to the moment of delivery, and within an event
    they are counted from its start by a clock that nobody sets: a system clock that jumps never makes an event end
    before it began.

    Attributes:
        id: unique, also between processes and machines.
        camera: the camera's name.
        label: the label's name.
        time: the frame that this notice is from, or when the camera was lost or stopped.
        score: the smoothed score at that frame, 0 to 1.
        peak: the highest smoothed score so far, and ``peak_time`` its frame.
        start: the frame whose smoothed score first reached the threshold.
        end: the frame that first fell below the lower threshold, or the last one seen; None while the event is on.
        reason: why it ended: ``score``, ``stopped``, ``camera lost: ...``, ``camera ended``; None while it is on.
        snapshot: path of a JPEG of the frame that turned it on, if snapshots are taken.
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

    def to_dict(self) -> dict[str, Any]:
        """The notice as numbers and strings, with RFC 3339 times in UTC; parts that are None are left out.

        ``off`` has the ``duration`` in seconds too.
        """
        notice: dict[str, Any] = {"event": self.state}
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name in _TIMES:
                value = rfc3339(value)
            elif isinstance(value, float):
                value = round(value, 4)
            notice[field.name] = value
        if self.end is not None:
            notice["duration"] = round(self.end - self.start, 3)
        return notice

    def to_json(self) -> str:
        """``to_dict`` as one line of ASCII."""
        return json.dumps(self.to_dict())

    def pack(self) -> str:
        """Text from which :meth:`unpack` makes an equal event."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def unpack(cls, text: str) -> Event:
        """The event that :meth:`pack` was called on.

        Raises:
            ValueError: another version of the SDK packed it.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(cls)}:
            raise ValueError("not an event of this version")
        return cls(**values)


_TIMES = frozenset({"time", "peak_time", "start", "end"})


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as UTC with milliseconds: ``2026-01-31T12:00:00.250Z``."""
    return (
        datetime.fromtimestamp(round(seconds, 3), timezone.utc)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
