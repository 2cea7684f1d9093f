"""Events computed again: the same with the recorded settings, and those of a run with other settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pvlr_sdk.cameras.events import Event, EventDetector, EventSettings, When
from pvlr_sdk.cameras.events.thresholds import REGION, Minimum, Thresholds
from pvlr_sdk.cameras.memory.recorder import COARSE, TAIL
from pvlr_sdk.cameras.memory.recording import Context, Place, decode, encode
from pvlr_sdk.cameras.memory.replay import changes, inexact, replay, with_threshold

from .conftest import play, random_scene, values


def events_of(chunks, settings_for=lambda place, context: context.settings):
    return [event for step in replay(chunks, settings_for) for event in step.events]


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_the_recorded_settings_give_the_recorded_events_in_every_bit(seed, repeats):
    random = np.random.default_rng(seed)
    scene = random_scene(random, 8, repeats=repeats)
    play(scene, random, 300)
    assert len(scene.events) > 5
    assert values(events_of(scene.chunks)) == values(scene.events)


@pytest.mark.slow
def test_10000_curves_give_the_recorded_events_in_every_bit():
    """1,000 labels are 1,000 curves."""
    differences = events = 0
    for seed in range(10):
        random = np.random.default_rng(1000 + seed)
        scene = random_scene(random, 1000)
        play(scene, random, 200)
        differences += values(events_of(scene.chunks)) != values(scene.events)
        events += len(scene.events)
    assert (differences, events > 10_000) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("floor", [0.1, 0.0])
@pytest.mark.parametrize("repeats", [False, True])
def test_other_settings_give_the_events_of_a_run_with_them(seed, floor, repeats):
    random = np.random.default_rng(seed)
    scene = random_scene(random, 8, floor=floor)
    old = scene.detector.used
    other = EventSettings(
        smoothing=old.settings.smoothing if floor else float(random.choice([0, 0.3, 2])),
        margin=0.1,
        min_duration=random.uniform(0, 2),
        min_gap=random.uniform(0, TAIL),
        on={name: random.uniform(0.3, 0.95) for name in scene.names},
        labels=scene.names[2:],
    )
    if repeats:
        rules = {
            scene.names[3]: When(scene.names[:1], within=2),
            scene.names[4]: When([], scene.names[1:2], 0.5),
        }
        groups = {"new": [*scene.names[2:5], scene.names[7]]}
        other = replace(
            other, cooldown=random.uniform(0, 4), max_per_hour=4, when=rules, groups=groups
        )
    directly = EventDetector("door", scene.names, old.deployed, other)
    expected = []

    def update(*arguments):
        expected.extend(directly.update(*arguments))
        return EventDetector.update(scene.detector, *arguments)

    scene.detector.update = update
    play(scene, random, 300, jumps=False)
    expected += directly.close(directly.tracks.last, "stopped")
    assert values(events_of(scene.chunks, lambda place, context: other)) == values(expected)
    assert (
        inexact([(one.place, one.context) for one in scene.chunks], lambda place, context: other)
        == []
    )


def test_what_would_not_be_exact_is_named(make_scene):
    scene = make_scene()
    scene.see(10.0, [0.9, 0.2])
    scene.close(11.0)
    other = EventSettings(
        smoothing=3, min_gap=60, on={"cat": 0.05}, labels=["car"], when={"car": When(["cat"])}
    )
    reasons = inexact(
        [(one.place, one.context) for one in scene.chunks], lambda place, context: other
    )
    assert reasons == [
        "min_gap is above 5 s",
        "smoothing differs from the recording",
        "the lower threshold of 'cat' is below the floor of the recording",
    ]


def test_labels_below_the_floor_are_named_in_one_reason(make_scene):
    scene = make_scene([f"label {number}" for number in range(80)], [0.9] * 80, floor=0.4)
    scene.see(10.0, [0.1] * 80)
    scene.close(11.0)
    other = EventSettings(on=dict.fromkeys(scene.names, 0.45))
    (reason,) = inexact(
        [(one.place, one.context) for one in scene.chunks], lambda place, context: other
    )
    assert reason.endswith(
        "'label 13', 'label 14', 'label 15' and 72 more is below the floor of the recording"
    )


def test_labels_that_change_meanwhile_end_and_begin_as_recorded(make_scene):
    scene = make_scene(["car", "cat"], settings=EventSettings(min_duration=0, min_gap=0.5))
    for step in range(20):
        scene.see(100 + step / 10, [0.9, 0.8])
    scene.change([0.5, 0.3], ["dog", "car"])
    for step in range(20, 60):
        scene.see(100 + step / 10, [0.7 if step > 30 else 0.05, 0.9 if step < 40 else 0.0])
    scene.close(107)
    assert {(one.label, one.reason) for one in scene.events if one.state == "off"} == {
        ("cat", "label removed"), ("car", "score"), ("dog", "stopped"),
    }  # fmt: skip
    assert values(events_of(scene.chunks)) == values(scene.events)


def test_a_label_that_comes_back_after_frames_that_were_not_recorded(make_scene):
    scene = make_scene(settings=EventSettings(smoothing=0.5, min_duration=0, min_gap=0))
    for step in range(1000):
        scene.see(step / 10, [0.9 if step % 73 < 10 else 0.01, 0.01])
    scene.close(100)
    assert any((one.starts[1:] & one.arrays["on"][:-1]).any() for one in scene.chunks)
    assert values(events_of(scene.chunks)) == values(scene.events)


def test_thresholds_of_tiles_count(make_scene):
    scene = make_scene(settings=EventSettings(smoothing=0, min_duration=0, min_gap=0))
    for step in range(30):
        tiled = {"thresholds": np.float32([0.8, 0.8])} if step >= 10 else {}
        scene.see(step / 10, [0.7, 0.9], **tiled)
    scene.close(3)
    assert [(one.label, one.state) for one in scene.events] == [
        ("car", "on"), ("cat", "on"), ("car", "off"), ("cat", "off"),
    ]  # fmt: skip
    assert values(events_of(scene.chunks)) == values(scene.events)


@pytest.mark.parametrize("repeats", [False, True])
def test_a_recording_whose_beginning_is_gone_goes_on_from_the_state_of_its_first_frame(repeats):
    random = np.random.default_rng(5)
    scene = random_scene(random, 8, repeats=repeats)
    play(scene, random, 400, jumps=False)
    later = scene.chunks[3:]
    first = later[0].arrays["monotonic"][0] + 1e-9
    wall = [one for one in scene.events if one.time > later[0].arrays["wall"][0] + 0.01]
    found = [one for one in events_of(later) if one.time > later[0].arrays["wall"][0] + 0.01]
    assert first > scene.chunks[0].arrays["monotonic"][0]
    assert len(wall) > 3
    assert values(found) == values(wall)
    never = dict.fromkeys(scene.names, 1 - 1e-6)
    assert not events_of(later, lambda place, context: replace(context.settings, on=never))


def test_the_settings_of_a_site_file_are_the_recorded_ones():
    when = {"car": When(present=("cat",))}
    of = EventSettings(labels=("car",), deny=("cat",), groups={"bay": ("car", "cat")}, when=when)
    packed = Context(("car", "cat"), of, (0.5, 0.5), None, "plan", "bank", 0.4)
    assert Context.unpack(packed.pack()) == packed


def test_a_quiet_place_keeps_a_frame_every_few_seconds(make_scene):
    scene = make_scene()
    for step in range(6000):
        scene.see(step / 10, [0.01, 0.02])
    scene.close(600)
    chunks = scene.chunks
    assert sum(len(one.arrays["monotonic"]) for one in chunks) == pytest.approx(600 / COARSE, abs=2)
    assert sum(len(one.pack()) for one in scene.chunks) < 10_000
    assert all(len(one.arrays["scores"]) == 0 for one in chunks)


def test_coarse_scores_are_at_most_a_step_below():
    scores = np.float32([0, 1e-9, 3e-4, 0.05, 0.1, 0.5, 0.9, 0.999, 1 - 1e-7, 1])
    coarse = decode(encode(scores))
    assert (coarse <= scores).all()
    inside = slice(3, 8)
    logit = lambda one: np.log(one / (1 - one))
    assert (logit(scores[inside]) - logit(coarse[inside]) <= 1 / 16 + 1e-4).all()


def test_a_label_that_is_deleted_leaves_no_scores(make_scene):
    scene = make_scene(settings=EventSettings(min_duration=0))
    for step in range(50):
        scene.see(step / 10, [0.9, 0.9])
    scene.close(5)
    (chunk, *_) = scene.chunks
    (left,) = {one.label for one in events_of([one.without("car") for one in scene.chunks])}
    assert left == "cat"
    left = chunk.without("car").arrays
    assert not left["coarse"][:, 0].any()
    assert [left[name][0] for name in ("average", "seen", "up")] == [0, -np.inf, False]
    assert left["average"][1] > 0
    assert chunk.without("dog") is chunk


def test_changes_are_new_gone_longer_and_shorter(make_scene):
    scene = make_scene(settings=EventSettings(smoothing=0, min_duration=0, min_gap=0, margin=0))
    levels = [0.1, 0.6, 0.6, 0.9, 0.6, 0.1, 0.1, 0.4, 0.4, 0.1, 0.7, 0.7, 0.1]
    for step, level in enumerate(levels):
        scene.see(step, [level, 0])
    scene.close(20)
    recorded = scene.events

    def against(value):
        events = events_of(
            scene.chunks, lambda place, context: replace(context.settings, on={"car": value})
        )
        return [(one.kind, one.event.start - 1_750_000_000) for one in changes(recorded, events)]

    assert against(0.5) == []
    assert against(0.35) == [("new", 7)]
    assert against(0.65) == [("shorter", 3)]
    assert against(0.8) == [("shorter", 3), ("gone", 10)]
    fewer = events_of(
        scene.chunks, lambda place, context: replace(context.settings, on={"car": 0.8})
    )
    assert [one.kind for one in changes(fewer, recorded)] == ["longer", "new"]


def test_changes_are_those_of_a_comparison_of_every_pair():
    random = np.random.default_rng(0)

    def events(kind):
        starts, labels = (
            random.uniform(0, 100, 60).round(1).tolist(),
            random.choice(["car", "cat"], 60).tolist(),
        )
        ends = [
            None if random.random() < 0.05 else start + random.exponential(2) for start in starts
        ]
        return [Event("off", f"{kind}{n}", "a", label, start, 1, 1, start, start, end=end)
                for n, (label, start, end) in enumerate(zip(labels, starts, ends, strict=True))]  # fmt: skip

    def overlap(one, other):
        ends = [np.inf if event.end is None else event.end for event in (one, other)]
        return one.label == other.label and other.start <= ends[0] and one.start <= ends[1]

    for _ in range(20):
        before, after = events("before"), events("after")
        left, new, gone = sorted(before, key=lambda event: event.start), set(), set()
        for one in sorted(after, key=lambda event: event.start):
            same = [other for other in left if overlap(one, other)]
            left = [other for other in left if other not in same]
            new |= {one.id} if not same else set()
            gone |= {other.id for other in same[1:]}
        found = changes(before, after)
        assert {one.event.id for one in found if one.kind == "new"} == new
        assert {one.event.id for one in found if one.kind == "gone"} == gone | {
            one.id for one in left
        }


def test_a_preview_uses_what_the_site_would_use():
    """A proven threshold is the least, and a region keeps its own one; what says so survives the store."""
    site = Thresholds({"car": 0.5}, proven={"car": Minimum(0.7, 36)})
    place = Place("door", None)
    plain = Context(("car",), EventSettings(), (0.5,), None, "plan", "bank", 0.4)
    own = replace(plain, settings=EventSettings(on={"car": 0.6}, origins={"car": REGION}))
    for threshold, used in ((0.3, 0.7), (0.9, 0.9)):
        preview = with_threshold("car", site.with_change("car", threshold))
        assert preview(place, plain).on == {"car": used}
        assert preview(place, Context.unpack(own.pack())).on == {"car": 0.6}
