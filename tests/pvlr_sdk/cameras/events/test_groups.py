"""Groups of labels that exclude each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import Event, EventDetector, EventSettings, When

NAMES = ["open", "shut", "ajar", "car"]
GATE = {"gate": ["open", "shut", "ajar"]}
PLAIN = {"smoothing": 0, "min_duration": 0, "min_gap": 0, "margin": 0}


def run(scores, **settings) -> list[Event]:
    """The events of a frame per second."""
    detector = EventDetector(
        "door", NAMES, [0.5] * len(NAMES), EventSettings(**{"groups": GATE, **PLAIN, **settings})
    )
    return [
        one
        for at, row in enumerate(scores)
        for one in detector.update(at, at, [*row, *[0] * (4 - len(row))])
    ]


def told(events) -> list[tuple]:
    return [(one.time, one.state, one.label, one.reason) for one in events]


@given(st.lists(st.tuples(*[st.integers(0, 15)] * 4), max_size=60))
def test_the_state_is_that_of_the_highest_score(frames):
    """A plain rule for each frame: the highest of the group if it is at its threshold, else unknown."""
    events, state, cars = run(np.array(frames).reshape(-1, 4) / 16), "unknown", False  # no rounding
    for at, row in enumerate(frames):
        now = [one for one in events if one.time == at]
        for one in now:
            state = one.group_state or state
            cars = one.state == "on" if one.label == "car" else cars
        best = int(np.argmax(row[:3]))
        assert state == (NAMES[best] if row[best] >= 8 else "unknown")
        assert cars == (row[3] >= 8)
        shown = [one.state for one in now if one.group == "gate"]
        assert shown in ([], ["on"], ["off"], ["off", "on"])  # what ends is reported first


def test_the_begin_of_one_ends_the_other_one_in_the_same_frame():
    events = run([(0.9, 0.2)] * 3 + [(0.8, 0.9)] * 3 + [(0.1, 0.2)] * 4, min_duration=2, min_gap=3)
    assert told(events) == [
        (2, "on", "open", None),
        (5, "off", "open", "replaced by shut"),
        (5, "on", "shut", None),
        (9, "off", "shut", "score"),
    ]
    assert [one.group_state for one in events] == ["open", None, "shut", "unknown"]
    assert (events[1].start, events[1].end) == (0, 3)


def test_a_short_lead_changes_nothing():
    flicker = [(0.9, 0.2)] * 3 + [(0.7, 0.8), (0.8, 0.7)] * 9
    assert told(run(flicker, min_duration=1.5, min_gap=2)) == [(2, "on", "open", None)]


def test_labels_that_are_not_reported_take_no_part():
    events = run([(0.6, 0.9, 0, 0.9)] * 2, deny=["shut"])
    assert [(one.label, one.group) for one in events] == [("open", "gate"), ("car", None)]


def test_a_held_back_event_does_not_end_the_other_one():
    frames = [(0.9, 0), (0, 0.9), (0.9, 0.95), (0.9, 0)]
    assert told(run(frames, cooldown=60, min_gap=60)) == [
        (0, "on", "open", None),
        (1, "off", "open", "replaced by shut"),
        (1, "on", "shut", None),
    ]


HELD_BACK = {
    "cooldown": {"cooldown": 60},
    "most": {"max_per_hour": 1},
    "present": {"when": {"shut": When(["car"], [], 5)}},
    "absent": {"when": {"shut": When([], ["open"], 5)}},
    "below its threshold": {"on": {"shut": 0.97}, "off": {"shut": 0.5}},
}


@pytest.mark.parametrize("why", HELD_BACK)
def test_what_cannot_begin_ends_no_event_and_lets_others_begin(why):
    first = [(0, 0.99, 0, 0.9 * (why == "present"))]
    frames = [*first * (why != "absent"), *[(0, 0)] * 9, *[(0.9, 0.95)] * 20, *[(0.9, 0)] * 2]
    events = [
        one
        for one in run(frames, min_duration=0, min_gap=2, **HELD_BACK[why])
        if one.label == "open"
    ]
    assert told(events) == [(len(frames) - 22, "on", "open", None)]


def test_it_begins_once_nothing_holds_it_back():
    frames = [*[(0, 0.9)] * 3, *[(0, 0)] * 4, *[(0.9, 0.95)] * 20]
    events = run(frames, min_duration=2, min_gap=1, cooldown=10)
    assert told(events)[2:] == [
        (9, "on", "open", None),
        (15, "off", "open", "replaced by shut"),
        (15, "on", "shut", None),
    ]
    assert events[3].end == events[4].start == 13  # when it began to lead: its cooldown was over


def test_without_another_label_for_a_time_begins_beside_one_of_its_group():
    """The time for which ``absent`` needs a label is that for which it leads; the event before it goes on meanwhile."""
    frames = [*[(0.9, 0)] * 3, *[(0.9, 0.95)] * 10]
    events = run(frames, min_gap=1, when={"shut": When([], ["car"], 5)})
    assert told(events) == [
        (0, "on", "open", None),
        (8, "off", "open", "replaced by shut"),
        (8, "on", "shut", None),
    ]


def test_an_event_that_ends_below_its_threshold_is_over_when_another_one_led():
    """So that the events of a group do not overlap."""
    frames = [*[(0.9, 0)] * 4, (0.9, 0.95), *[(0, 0.95)] * 9]
    events = run(frames, min_duration=2.5, min_gap=1)
    assert told(events)[1:] == [(6, "off", "open", "score"), (7, "on", "shut", None)]
    assert events[1].end == events[2].start == 4


def test_an_event_that_was_replaced_begins_anew_only_once_its_label_has_led_again():
    frames = [*[(0.9, 0)] * 4, *[(0.9, 0.95)] * 3, *[(0.97, 0.95)] * 3]
    events = run(frames, min_duration=2, min_gap=1)
    assert [(*one, event.start) for one, event in zip(told(events), events, strict=True)][2:] == [
        (6, "on", "shut", None, 4),
        (9, "off", "shut", "replaced by open", 4),
        (9, "on", "open", None, 7),
    ]
    assert [one.end for one in events if one.state == "off"] == [4, 7]


def test_of_two_events_that_become_a_group_the_higher_one_stays():
    detector = EventDetector("door", NAMES, [0.5] * 4, EventSettings(**PLAIN))
    detector.update(0, 0, [0.7, 0.9, 0, 0])
    detector.use(detector.prepare(EventSettings(**PLAIN, groups=GATE)))
    assert told(detector.update(1, 1, [0.7, 0.9, 0, 0])) == [(1, "off", "open", "score")]


@pytest.mark.parametrize(
    "groups", [{"gate": ["open"]}, {"a": ["open", "shut"], "b": ["shut", "ajar"]}, {"a": ["x"] * 2}]
)
def test_invalid_groups(groups):
    with pytest.raises(errors.OptionError, match="each in one group"):
        EventSettings(groups=groups)
    with pytest.raises(errors.UnknownLabelError):
        EventDetector("door", NAMES, [0.5] * 4, EventSettings(groups={"gate": ["open", "closed"]}))


def test_an_event_keeps_its_group():
    event = run([(0.9, 0)])[0]
    assert Event.unpack(event.pack()) == event
    assert event.to_dict()["group"] == "gate"
