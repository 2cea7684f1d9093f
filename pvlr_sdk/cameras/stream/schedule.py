"""Hours of the week in which a camera, or a region of it, is tagged."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from ... import errors

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_SPAN = re.compile(r"(?:([a-z,-]+) +)?(\d\d?):([0-5]\d) *- *(\d\d?):([0-5]\d)", re.ASCII)


@dataclass(frozen=True)
class Schedule:
    """Hours of the week, as a clock on the wall shows them, to the minute: an hour that a change to summer time skips
    has no minutes, and an hour that occurs twice counts twice.

    Args:
        hours: spans such as ``mon-fri 08:00-18:00``, ``sat,sun 09:00-24:00``, ``08:00-18:00`` (every day) and
            ``sat 22:00-02:00`` (until Sunday). The end is excluded.
        timezone: a name of the IANA database, such as ``Europe/Berlin``; None: the system's time zone.

    Raises:
        OptionError: a span is invalid, there is none, or the time zone is unknown.
    """

    hours: tuple[str, ...]
    timezone: str | None = None
    _zone: ZoneInfo | None = field(init=False, repr=False, compare=False)
    _week: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        week = bytearray(7 * _DAY)  # for each minute since Monday 00:00: 1 within the hours
        for span in self.hours or ("",):
            days, start, end = _parse(span)
            for minute in (day * _DAY + minute for day in days for minute in range(start, end)):
                week[minute % len(week)] = 1
        object.__setattr__(self, "_week", bytes(week))
        try:
            object.__setattr__(
                self, "_zone", None if self.timezone is None else ZoneInfo(self.timezone)
            )
        except (
            ValueError,
            OSError,
            KeyError,
        ):  # a name outside the database, a folder in it, an unknown one
            raise errors.OptionError(
                "timezone",
                "a time zone of the IANA database",
                repr(self.timezone)[:60],
                "For example Europe/Berlin, if the system has tzdata.",
            ) from None

    def contains(self, wall: float) -> bool:
        """Whether this moment, in seconds since the epoch, is within the hours."""
        local = datetime.fromtimestamp(wall, self._zone)
        return bool(self._week[local.weekday() * _DAY + local.hour * 60 + local.minute])


def _parse(span: str) -> tuple[set[int], int, int]:
    """The days of a span, Monday is 0, and the minutes of its first day: the first one, and the one after the last."""
    try:
        if not (match := _SPAN.fullmatch(span.strip().lower())):
            raise ValueError
        days = set()
        for part in (match[1] or "mon-sun").split(","):
            first, dash, last = part.partition("-")
            begin = _DAYS.index(first)
            end = _DAYS.index(last if dash else first)
            days |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
        start, stop = (60 * int(match[hour]) + int(match[hour + 1]) for hour in (2, 4))
        if start >= _DAY or stop > _DAY or start == stop:
            raise ValueError
    except ValueError:
        raise errors.OptionError(
            "schedule",
            "days and hours such as 'mon-fri 08:00-18:00'",
            repr(span)[:60],
            "A whole day is 00:00-24:00.",
        ) from None
    return days, start, stop if stop > start else stop + _DAY
