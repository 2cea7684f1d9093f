"""Fewer repeats: a cooldown, a limit per hour, and conditions on other labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import EventDetector, EventSettings, When

PLAIN = {"smoothing": 0, "min_duration": 0, "min_gap": 0, "margin": 0}
NAMES = ["car", "dog", "person"]


def begun(scores, *, step=1.0, detector=None, **settings) -> list[float]:
    """When the events of the first label are reported, in seconds; ``scores``: (F,) or (F, C), a frame per step."""
    scores = np.asarray(scores, float).reshape(len(scores), -1)
    names = NAMES[: scores.shape[1]]
    detector = detector or EventDetector(
        "door", names, [0.5] * len(names), EventSettings(**PLAIN, **settings)
    )
    events = [
        one
        for at, row in enumerate(scores)
        for one in detector.update(100 + at * step, 100 + at * step, row)
    ]
    return [one.time - 100 for one in events if one.state == "on" and one.label == NAMES[0]]


@rules(deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=120),
    st.integers(0, 12),
    st.none() | st.integers(1, 5),
)
def test_events_are_those_of_a_plain_list(present, cooldown, most):
    expected, on, ended, reported = [], False, -np.inf, []
    for at, there in enumerate(present):
        now = 100.0 * at
        recent = [one for one in reported if now - one < 3600]
        if on and not there:
            on, ended = False, now
        elif (
            there
            and not on
            and now - ended >= 100 * cooldown
            and (most is None or len(recent) < most)
        ):
            on, reported = True, [*reported, now]
            expected.append(now)
    assert begun(present, step=100.0, cooldown=100 * cooldown, max_per_hour=most) == expected


def test_a_label_that_stays_is_reported_after_the_cooldown_with_its_own_start():
    detector = EventDetector("door", ["car"], [0.5], EventSettings(**PLAIN, cooldown=10))
    events = [
        one for at in range(30) for one in detector.update(at, at, [float(at not in (5, 6, 7))])
    ]
    assert [(one.state, one.time, one.start) for one in events] == [
        ("on", 0, 0),
        ("off", 5, 0),
        ("on", 15, 8),
    ]


def test_a_lost_camera_and_other_labels_reset_nothing():
    detector = EventDetector(
        "door", ["car"], [0.5], EventSettings(**PLAIN, cooldown=10, max_per_hour=2)
    )
    assert begun([1, 1], detector=detector) == [0]
    detector.close(103, "camera lost")
    detector.use(detector.prepare(detector.used.settings, [0.5, 0.5], ["dog", "car"]))
    events = [
        one
        for at in range(4000)
        for one in detector.update(104 + at, 104 + at, [0, float(at % 50 > 0)])
    ]
    # The second and the last after the cooldown, the third when the first is an hour ago.
    assert [one.time for one in events if one.state == "on"][:3] == [111, 3700, 3714]


def test_a_label_needs_another_one_within_seconds():
    other = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    car = [0, 0, 0, 1, 0, 0, 0, 1, 1, 1]
    scores = np.c_[car, other]
    assert begun(scores, when={"car": When(present=["dog"], within=2)}) == [3, 8]
    assert begun(scores, when={"car": When(present=["dog"], within=1)}) == [8]
    assert begun(scores, when={"car": When(present=["dog"])}) == [8]
    assert begun(
        scores, when={"car": When(present=["dog"], within=9), "dog": When(present=["car"])}
    ) == [3, 7]


def test_a_label_without_another_one_is_reported_after_these_seconds():
    other = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    car = [1, 1, 1, 1, 1, 0, 1, 1, 1, 1]
    scores = np.c_[car, other]
    assert begun(scores, when={"car": When(absent=["dog"], within=2)}) == [4]
    assert begun(scores, when={"car": When(absent=["dog"])}) == [0, 6]
    both = When(present=["person"], absent=["dog"], within=1)
    assert begun(np.c_[scores, np.ones(10)], when={"car": both}) == [3, 7]
    assert begun(np.c_[scores, np.zeros(10)], when={"car": both}) == []


def test_a_label_that_is_not_reported_counts_as_a_condition():
    scores = np.c_[[1, 1, 1], [0, 1, 1]]
    for chosen in ({"labels": ["car"]}, {"deny": ["dog"]}):
        assert begun(scores, when={"car": When(present=["dog"])}, **chosen) == [1]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"cooldown": -1}, "cooldown: expected seconds, 0 or more, got -1"),
        ({"cooldown": float("nan")}, "cooldown"),
        ({"max_per_hour": 0}, "max_per_hour: expected 1 to 60, got 0"),
        ({"max_per_hour": 61}, "max_per_hour"),
        ({"when": {"car": When(within=3)}}, "when of 'car': expected other labels, got none"),
        ({"when": {"car": When(["dog"], within=-1)}}, "within of when of 'car'"),
    ],
)
def test_invalid_settings_are_rejected(settings, match):
    with pytest.raises(errors.OptionError, match=match):
        EventSettings(**settings)


@pytest.mark.parametrize(
    "when", [{"cow": When(["car"])}, {"car": When(["cow"])}, {"car": When(absent=["cow"])}]
)
def test_unknown_labels_are_rejected(when):
    with pytest.raises(errors.UnknownLabelError, match="cow"):
        EventDetector("door", NAMES, [0.5] * 3, EventSettings(when=when))
