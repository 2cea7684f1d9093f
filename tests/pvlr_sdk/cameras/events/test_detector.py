"""Events from scores: compared with a scalar definition, and their documented properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import Event, EventDetector, EventSettings

WALL = 1_750_000_000.0


def run(settings, times, scores, *, on=0.5, wall=lambda t: WALL + t, detector=None) -> list[Event]:
    """All events of one label, the last one closed."""
    detector = detector or EventDetector("door", ["car"], [on], settings)
    events = [
        event
        for t, s in zip(times, scores, strict=True)
        for event in detector.update(t, wall(t), [s])
    ]
    return events + detector.close(times[-1], "stopped")


def averages(times, scores, constant) -> list[float]:
    """The moving average by its formula, one number at a time."""
    average, result = scores[0], []
    for index, score in enumerate(scores):
        if index and constant:
            kept = math.exp(-(times[index] - times[index - 1]) / constant)
            average = kept * average + (1 - kept) * score
        elif index:
            average = score
        result.append(average)
    return result


frames = st.lists(st.tuples(st.floats(0.001, 2), st.floats(0, 1)), min_size=1, max_size=60)
some_settings = st.builds(
    EventSettings,
    smoothing=st.sampled_from([0.0, 0.2, 1.0]),
    margin=st.floats(0, 0.4),
    min_duration=st.floats(0, 2),
    min_gap=st.floats(0, 2),
)


@rules(deadline=None)
@given(frames, some_settings, st.floats(0.05, 0.95))
def test_events_alternate_last_long_enough_and_know_their_peak(frames, chosen, threshold):
    times = np.cumsum([step for step, _ in frames]).tolist()
    scores = [score for _, score in frames]
    average = dict(zip(times, averages(times, scores, chosen.smoothing), strict=True))
    lower = max(threshold - chosen.margin, threshold / 2)
    events = run(chosen, times, scores, on=threshold)

    assert [event.state for event in events] == ["on", "off"] * (len(events) // 2)
    assert len({event.id for event in events}) == len(events) // 2
    moments = [event.time for event in events]
    assert moments == sorted(moments)
    for on, off in zip(events[::2], events[1::2], strict=True):
        assert on.id == off.id
        assert on.start == off.start
        assert on.end is None
        assert on.reason is None
        assert off.end is not None
        assert off.end - off.start >= chosen.min_duration - 1e-6
        assert off.start <= off.peak_time <= off.end + 1e-6
        for event in (on, off):
            seen = {
                t: a for t, a in average.items() if on.start - 1e-6 <= WALL + t <= event.time + 1e-6
            }
            assert event.peak == pytest.approx(max(seen.values()))
            assert event.score == pytest.approx(average[max(seen)])
            assert max(seen.values()) >= threshold - 1e-9
            assert average[min(seen)] >= lower - 1e-9
    inside = [
        t
        for t in times
        if any(a.start <= WALL + t <= b.end for a, b in zip(events[::2], events[1::2], strict=True))
    ]
    if chosen.min_duration == 0:
        assert all(t in inside or average[t] < threshold + 1e-9 for t in times)


@pytest.mark.slow
@rules(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.floats(2, 6), st.floats(0, 0.2), st.floats(2, 6), st.floats(0.8, 1)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([4.0, 7.0, 12.5]),
)
def test_the_rate_of_frames_does_not_matter(visits, slow):
    """The same scene at a few and at 60 frames per second: the same events, to within two frames of the slower one."""
    edges, levels = [0.0], []
    for away, low, there, high in visits:
        edges += [edges[-1] + away, edges[-1] + away + there]
        levels += [low, high]
    edges, levels = [*edges, edges[-1] + 3], [*levels, 0.0]

    def at(rate):
        times = np.arange(0, edges[-1], 1 / rate)
        scores = np.array(levels)[np.searchsorted(edges, times, "right") - 1]
        return run(EventSettings(), times.tolist(), scores.tolist())

    few, many = at(slow), at(60.0)
    assert (
        [event.state for event in few]
        == [event.state for event in many]
        == ["on", "off"] * len(visits)
    )
    for one, other in zip(few, many, strict=True):
        assert abs(one.time - other.time) <= 2 / slow
        assert abs(one.start - other.start) <= 2 / slow


def test_flicker_and_gaps():
    times = (np.arange(100) / 10).tolist()
    single = [1.0 if index in (30, 50, 51) else 0.1 for index in range(100)]
    assert run(EventSettings(), times, single) == []
    between = [0.9] * 20 + [0.45, 0.55] * 40  # never down to the lower threshold
    assert [event.reason for event in run(EventSettings(smoothing=0), times, between)] == [
        None,
        "stopped",
    ]
    gap = [0.9] * 30 + [0.1] * 10 + [0.9] * 60
    assert len(run(EventSettings(smoothing=0, min_gap=0), times, gap)) == 4
    assert len(run(EventSettings(smoothing=0, min_gap=1.05), times, gap)) == 2
    assert len(run(EventSettings(smoothing=0), times, gap[:39] + [0.9] * 61)) == 2  # a gap of 0.9 s


def test_an_event_reaches_the_threshold_and_extends_down_to_the_lower_one():
    times = (np.arange(60) / 10).tolist()
    settings = EventSettings(smoothing=0, min_duration=0.5)  # thresholds 0.5 and 0.4
    slow = [0.1] * 10 + [0.42] * 10 + [0.5] + [0.42] * 9 + [0.39] * 30
    on, off = run(settings, times, slow)
    # long enough when it reaches the threshold
    assert (on.start, on.time, on.score) == (
        WALL + 1,
        WALL + 2,
        0.5,
    )
    # min_gap after the end
    assert (off.end, off.time, off.peak_time) == (
        WALL + 3,
        WALL + 4,
        WALL + 2,
    )
    assert run(settings, times, [min(score, 0.499) for score in slow]) == []
    early = [0.1] * 10 + [0.5] + [0.42] * 9 + [0.1] * 40
    on, _ = run(settings, times, early)
    assert (on.start, on.time, on.score) == (WALL + 1, WALL + 1.5, 0.42)
    # Below the lower threshold it begins anew, and has to reach the threshold again.
    assert run(settings, times, [0.1] * 10 + [0.5] * 2 + [0.39] + [0.42] * 47) == []


def test_thresholds_of_labels():
    settings = EventSettings(
        smoothing=0, min_duration=0, min_gap=0, on={"cat": 0.8}, off={"dog": 0.1}
    )
    detector = EventDetector("door", ["car", "cat", "dog", "low"], [0.5, 0.5, 0.5, 0.04], settings)
    on = detector.update(0, WALL, [0.6, 0.6, 0.6, 0.05])
    assert [event.label for event in on] == ["car", "dog", "low"]
    off = detector.update(1, WALL + 1, [0.39, 0.85, 0.11, 0.021])
    assert [(event.state, event.label) for event in off] == [("on", "cat"), ("off", "car")]
    # The margin is at most half the threshold: a low threshold could never be undershot otherwise.
    assert [event.label for event in detector.update(2, WALL + 2, [0, 0.71, 0.09, 0.019])] == [
        "dog",
        "low",
    ]


def test_only_labels_that_are_wanted():
    scores = [1.0, 1.0, 1.0]
    for settings, expected in (
        (EventSettings(labels=["dog", "car"], min_duration=0), ["car", "dog"]),
        (EventSettings(deny=["cat"], min_duration=0), ["car", "dog"]),
        (EventSettings(labels=["cat"], deny=["cat"], min_duration=0), []),
    ):
        detector = EventDetector("door", ["car", "cat", "dog"], [0.5] * 3, settings)
        assert detector.labels == expected
        assert [event.label for event in detector.update(0, WALL, scores)] == expected


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, -WALL])
def test_a_clock_that_jumps_changes_no_duration_and_turns_no_time_back(jump):
    times = (np.arange(100) / 10).tolist()
    scores = [0.9 if 20 <= index < 70 else 0.1 for index in range(100)]
    steady = run(EventSettings(), times, scores)
    jumped = run(EventSettings(), times, scores, wall=lambda t: WALL + t + (jump if t > 4 else 0))
    assert [event.time for event in jumped] == [event.time for event in steady]
    assert [event.end for event in jumped] == [event.end for event in steady]
    # The next event is on the clock as it is then.
    detector = EventDetector("door", ["car"], [0.5], EventSettings())
    run(None, times, scores, wall=lambda t: WALL + t + (jump if t > 4 else 0), detector=detector)
    later = run(
        None, [t + 20 for t in times], scores, wall=lambda t: WALL + t + jump, detector=detector
    )
    assert later[0].time == pytest.approx(WALL + jump + 20 + steady[0].time - WALL)


def test_frames_out_of_order_count_as_simultaneous():
    settings = EventSettings(min_duration=0, min_gap=0)
    detector = EventDetector("door", ["car"], [0.5], settings)
    (on,) = detector.update(10, WALL, [0.9])
    assert detector.update(5, WALL - 5, [0.0]) == []
    (off,) = detector.update(15, WALL + 5, [0.0])
    assert (on.time, off.time) == (WALL, WALL + 5)


def test_closing_ends_events_with_the_last_frame_and_begins_anew():
    detector = EventDetector("door", ["car"], [0.5], EventSettings(smoothing=100, min_duration=0))
    (on,) = detector.update(0, WALL, [0.9])
    detector.update(3, WALL + 3, [0.9])
    (off,) = detector.close(8, "camera lost: no frames")
    assert (off.id, off.reason) == (on.id, "camera lost: no frames")
    assert (off.end, off.time) == (WALL + 3, WALL + 8)
    assert detector.close(9, "stopped") == []
    # The slow average is reset by the cut.
    assert detector.update(10, WALL + 10, [0.1]) == []
    assert detector.close(11, "stopped") == []


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"smoothing": -1}, "smoothing"),
        ({"min_duration": math.nan}, "min_duration"),
        ({"margin": 2}, "margin"),
        ({"on": {"car": 1.5}}, "'car'"),
        ({"off": {"car": 0.6}}, "at most its on threshold, 0.5"),
    ],
)
def test_settings_that_cannot_be(values, part):
    with pytest.raises(errors.OptionError, match=part):
        EventDetector("door", ["car"], [0.5], EventSettings(**values))


def test_labels_and_scores_that_cannot_be():
    for settings in (
        EventSettings(labels=["cra"]),
        EventSettings(deny=["cra"]),
        EventSettings(on={"cra": 0.5}),
    ):
        with pytest.raises(errors.UnknownLabelError, match="car"):
            EventDetector("door", ["car"], [0.5], settings)
    with pytest.raises(errors.OptionError, match="thresholds"):
        EventDetector("door", ["car"], [0.5, 0.5])
    detector = EventDetector("door", ["car"], [0.5])
    for scores in ([0.5, 0.5], [math.nan]):
        with pytest.raises(errors.OptionError, match="scores"):
            detector.update(0, WALL, scores)


def test_other_settings_apply_from_the_next_frame_on():
    settings = EventSettings(smoothing=0, min_duration=0, min_gap=5)
    detector = EventDetector("door", ["car", "dog"], [0.5, 0.9], settings)
    assert [event.label for event in detector.update(0, WALL, [0.8, 0.8])] == ["car"]
    detector.use(
        detector.prepare(
            EventSettings(smoothing=0, min_duration=0, min_gap=5, on={"dog": 0.7}, labels=["dog"])
        )
    )
    on, off = detector.update(1, WALL + 1, [0.8, 0.8])
    assert (on.label, on.state) == ("dog", "on")
    assert (off.label, off.state, off.reason, off.end) == ("car", "off", "label excluded", WALL + 1)
    assert (detector.labels, detector.levels) == (["dog"], {"dog": (0.8, 0.7)})
    with pytest.raises(errors.UnknownLabelError):
        detector.use(detector.prepare(EventSettings(labels=["cat"])))
    assert detector.labels == ["dog"]


def test_other_labels_keep_the_events_of_those_that_stay():
    settings = EventSettings(smoothing=0.5, min_duration=0)
    detector = EventDetector("door", ["car", "dog"], [0.5, 0.5], settings)
    car, dog = detector.update(0, WALL, [0.8, 0.9])
    detector.use(detector.prepare(settings, [0.6, 0.3, 0.5], ["mug", "car", "pen"]))
    assert detector.levels == {"mug": (0.0, 0.6), "car": (0.8, 0.3), "pen": (0.0, 0.5)}
    # A frame that was in progress has the scores of the labels before: they count for nothing.
    assert detector.update(1, WALL + 1, [0.0, 0.0], ["car", "dog"]) == []
    (off,) = detector.update(2, WALL + 2, [0.1, 0.7, 0.2], ["mug", "car", "pen"])
    assert (off.id, off.label, off.state, off.reason) == (dog.id, "dog", "off", "label removed")
    assert (off.end, off.peak) == (WALL + 2, 0.9)
    weight = 1 - math.exp(-4)
    assert {label: score for label, (score, _) in detector.levels.items()} == pytest.approx(
        {"mug": 0.1 * weight, "car": 0.8 - 0.1 * weight, "pen": 0.2 * weight}
    )
    (off,) = detector.close(3, "stopped")
    assert (off.id, off.label, off.start) == (car.id, "car", WALL)
    with pytest.raises(
        errors.OptionError, match=r"scores: expected finite, \(3,\), got shape \(2,\)"
    ):
        detector.update(4, WALL + 4, [0.5, 0.5])


def test_other_labels_after_the_last_frame_end_all_events_with_their_own_names():
    detector = EventDetector(
        "door", ["car", "dog"], [0.5, 0.5], EventSettings(smoothing=0, min_duration=0)
    )
    detector.update(0, WALL, [0.1, 0.9])
    detector.use(detector.prepare(EventSettings(), [0.5], ["car"]))
    assert [event.label for event in detector.close(1, "stopped")] == ["dog"]
    assert detector.update(2, WALL + 2, [0.1]) == []
    with pytest.raises(errors.UnknownLabelError):
        detector.use(detector.prepare(EventSettings(on={"dog": 0.5})))
