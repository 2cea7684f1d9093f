"""Hours of the week in three time zones, against the C library's clock; what is no schedule."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.stream import Schedule

HOURS = ("mon-fri 08:00-18:00", "sat 22:00-02:30", "sun,wed 01:30-02:15", "fri-mon 23:59-24:00")
SPANS = [
    ({0, 1, 2, 3, 4}, 480, 1080),
    ({5}, 1320, 150),
    ({6, 2}, 90, 135),
    ({4, 5, 6, 0}, 1439, 1440),
]
YEAR = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())
DAY = 86400


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Sets the time zone of the process."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


def expected(moment: int) -> bool:
    """By the C library's local time, and by comparing instead of by a table."""
    now = time.localtime(moment)
    minute = 60 * now.tm_hour + now.tm_min
    for days, start, end in SPANS:
        today, yesterday = now.tm_wday in days, (now.tm_wday - 1) % 7 in days
        if today and start <= minute and (end < start or minute < end):
            return True
        if yesterday and end < start and minute < end:
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"], indirect=True
)
def test_every_minute_of_a_year(zone: str) -> None:
    schedule, system = Schedule(HOURS, zone), Schedule(HOURS)
    moments = range(YEAR + 37, YEAR + 365 * DAY, 60)
    wrong = [moment for moment in moments if schedule.contains(moment) != expected(moment)]
    assert wrong == []
    assert all(system.contains(moment) == schedule.contains(moment) for moment in moments[::17])
    assert 0.2 < sum(map(schedule.contains, moments[::17])) / len(moments[::17]) < 0.5


@pytest.mark.parametrize(
    ("zone", "hours", "day", "minutes"),
    [
        ("Europe/Berlin", "sun 02:00-03:00", (2026, 3, 29), 0),  # skipped
        ("Europe/Berlin", "sun 02:00-03:00", (2026, 10, 25), 120),  # twice
        ("Europe/Berlin", "sat 22:00-06:00", (2026, 3, 28), 420),
        ("America/New_York", "sun 00:00-24:00", (2026, 11, 1), 1500),
        ("Australia/Lord_Howe", "sun 01:30-02:00", (2026, 4, 5), 60),  # by half an hour
        ("Australia/Lord_Howe", "sun 02:00-02:30", (2026, 10, 4), 0),
    ],
)
def test_changes_of_daylight_saving(
    zone: str, hours: str, day: tuple[int, int, int], minutes: int
) -> None:
    schedule, noon = Schedule((hours,), zone), int(datetime(*day, tzinfo=timezone.utc).timestamp())
    assert (
        sum(schedule.contains(noon + 60 * minute) for minute in range(-1440, 3 * 1440)) == minutes
    )


def test_how_hours_are_written() -> None:
    assert (
        Schedule(("Mon-Fri 8:00 - 18:00",))._week
        == Schedule(("mon,tue,wed-fri 08:00-18:00",))._week
    )
    assert Schedule(("00:00-24:00",))._week == bytes([1]) * 7 * 1440
    assert Schedule(("sun 23:00-01:00",))._week[:61] == bytes([1]) * 60 + bytes(1)


@pytest.mark.parametrize(
    "span", ["", "mon", "8-18", "mon- 08:00-18:00", "mon-fri-sat 08:00-09:00", "mo 08:00-09:00", "08:00-08:00",
             "24:00-01:00", "08:00-24:01", "08:60-09:00", "mon 08:00", ",mon 08:00-09:00", "٠٨:00-09:00"]
)  # fmt: skip
def test_hours_that_are_none(span: str) -> None:
    with pytest.raises(
        errors.OptionError, match=r"schedule: expected days and hours such as 'mon-fri 08:00-18:00'"
    ):
        Schedule(("sat 10:00-11:00", span))
    with pytest.raises(errors.OptionError):
        Schedule(())


@pytest.mark.parametrize(
    "name", ["Europe/Berlim", "../../etc/passwd", "/etc/localtime", "Europe", "", "\0"]
)
def test_a_time_zone_that_is_none(name: str) -> None:
    with pytest.raises(
        errors.OptionError, match="timezone: expected a time zone of the IANA database"
    ):
        Schedule(("08:00-09:00",), name)
