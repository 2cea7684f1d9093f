"""An event as JSON, and packed for a queue."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk.cameras.events import Event, rfc3339
from pvlr_sdk.cameras.events.event import place_of

ON = Event(
    "on", "1", "door", "café", time=12.3456, score=0.71234567, peak=0.9, peak_time=12.0, start=11.5
)
OFF = Event(
    "off",
    "1",
    "door",
    "café",
    time=20.0,
    score=0.1,
    peak=0.9,
    peak_time=12.0,
    start=11.5,
    end=19.75,
    reason="score",
)


def test_json_has_the_parts_that_the_pages_promise():
    assert json.loads(ON.to_json()) == {
        "event": "on",
        "id": "1",
        "camera": "door",
        "label": "café",
        "time": "1970-01-01T00:00:12.346Z",
        "score": 0.7123,
        "peak": 0.9,
        "peak_time": "1970-01-01T00:00:12.000Z",
        "start": "1970-01-01T00:00:11.500Z",
    }
    off = json.loads(OFF.to_json())
    assert off["event"] == "off"
    assert (off["end"], off["duration"], off["reason"]) == (
        "1970-01-01T00:00:19.750Z",
        8.25,
        "score",
    )
    assert "\n" not in OFF.to_json()
    assert OFF.to_json().isascii()


@given(st.floats(0, 4e9))
def test_times_are_rfc_3339_to_the_millisecond(seconds):
    text = rfc3339(seconds)
    assert text.endswith("Z")
    parsed = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert abs(parsed.timestamp() - seconds) <= 0.0006


@pytest.mark.parametrize("event", [ON, OFF])
def test_packing_loses_nothing(event):
    assert Event.unpack(event.pack()) == event
    before_regions = {
        key: value
        for key, value in json.loads(event.pack()).items()
        if key not in ("region", "group")
    }
    assert Event.unpack(json.dumps(before_regions)) == dataclasses.replace(event, region=None)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"state": "on"}', ON.pack().replace("label", "tag")]
)
def test_what_another_version_packed_is_told_apart(text):
    with pytest.raises(ValueError, match=r"not an event of this version|Expecting value"):
        Event.unpack(text)


def test_a_region_has_a_name_that_no_camera_has():
    assert place_of("yard", None) == "yard"
    assert place_of("yard", "gate") == "yard:gate"
