"""Regions and hours of a site's cameras: their events, with frames at given times."""

from __future__ import annotations

import sqlite3
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.site.changes import Changes
from pvlr_sdk.cameras.sources import CapturedFrame, EndOfSource

MONDAY = 1_767_571_200.0  # 2026-01-05 00:00 UTC


class Pattern:
    """A file whose frames have these ``wall`` times, in the order in which they are read."""

    live, decode_errors, skipped = False, 0, 0

    def __init__(self, hours: Any) -> None:
        self._hours = list(hours)

    def read(self) -> CapturedFrame:
        if not self._hours:
            raise EndOfSource
        wall = MONDAY + 3600 * self._hours.pop(0)
        return CapturedFrame(np.zeros((48, 64, 3), np.uint8), "bgr", wall, wall, None, 0)

    def close(self) -> None:
        pass


@pytest.fixture
def hours(monkeypatch):
    """Sets the hours since Monday 00:00 UTC at which the cameras have frames."""
    return lambda *hours: monkeypatch.setattr(
        "pvlr_sdk.cameras.stream.reader.open_source", lambda *_, **__: Pattern(hours)
    )


ALWAYS_AT_ONCE = {"thresholds": {"cat": 0.0}, "labels": ["cat"], "min_duration": 0, "smoothing": 0}
EVERY = {"every_frame": True}
LEFT, RIGHT = ([[x, 0], [x + 0.5, 0], [x + 0.5, 1], [x, 1]] for x in (0, 0.5))


def spans(events) -> dict[tuple[str, str | None], list[tuple[float, float, str]]]:
    """The hours in which each label was reported in each region, and why that ended."""
    found = {}
    for event in events:
        if event.state == "off":
            start, end = ((at - MONDAY) / 3600 for at in (event.start, event.end))
            found.setdefault((event.label, event.region), []).append((start, end, event.reason))
    return found


def test_a_camera_outside_its_hours_has_no_events_and_costs_no_inference(make_site, hours):
    hours(6, 7, 8, 9, 10, 11, 30, 32, 33, 34)
    camera = {"uri": "x.mp4", "schedule": ["mon-fri 09:00-12:00"]}
    site = make_site(cameras={"door": camera}, timezone="Europe/Berlin", events=ALWAYS_AT_ONCE)
    states = []
    change = site._change
    site._change = lambda item: (states.append(item.state), change(item))
    site.run()
    assert states == ["paused", "live", "paused", "live", "ended"]
    assert spans(site.events()) == {
        ("cat", None): [(8, 10, "not watched"), (32, 34, "camera ended: the end was reached")]
    }
    assert [site.events_after(count) for count in (0, 3, 4)] == [
        (4, site.events()),
        (4, site.events()[3:]),
        (4, []),
    ]
    assert site.stats()["cameras"]["door"]["tagged"] == 6
    assert site.stats()["cameras"]["door"]["captured"] == 10


def test_regions_have_hours_labels_and_thresholds_of_their_own(make_site, hours):
    hours(7, 8, 9, 10, 11)
    regions = {
        "left": {"polygon": LEFT, "schedule": ["08:00-10:00"]},
        "right": {"polygon": RIGHT, "labels": ["person"], "thresholds": {"person": 0}},
        "never": {"polygon": RIGHT, "exclude": True},
    }
    site = make_site(
        cameras={"door": {"uri": "x.mp4", "regions": regions}},
        timezone="UTC",
        events=ALWAYS_AT_ONCE,
    )
    site.run()
    assert spans(site.events()) == {
        ("cat", "left"): [(8, 9, "not watched")],
        ("person", "right"): [(7, 11, "camera ended: the end was reached")],
    }
    assert list(site.latest("door").regions) == ["right"]
    assert sorted(site.levels("door")) == ["cat", "person"]
    assert site.levels("door")["person"][1] == 0


def test_a_label_in_two_regions_gives_two_events_each_with_its_sensor(make_site, hours, tmp_path):
    hours(7, 8, 9)
    regions = {"left": {"polygon": LEFT}, "right": {"polygon": RIGHT}}
    sinks = [{"kind": "sqlite", "path": str(tmp_path / "e.db")}]
    site = make_site(
        cameras={"door": {"uri": "x.mp4", "regions": regions}}, sinks=sinks, events=ALWAYS_AT_ONCE
    )
    announced = []
    site._sinks.announce = lambda status: announced.append(status.labels)
    site.use(site.changes)
    site.run()
    assert [(event.state, event.region) for event in site.events()] == [
        ("on", "left"), ("on", "right"), ("off", "left"), ("off", "right")
    ]  # fmt: skip
    assert announced[0] == {"door:left": ["cat"], "door:right": ["cat"]}
    with sqlite3.connect(tmp_path / "e.db") as database:
        assert sorted(database.execute("SELECT region FROM events")) == [("left",), ("right",)]


def test_other_regions_are_used_from_the_next_frame_on(make_site, hours):
    hours(*range(20))
    regions = {"left": {"polygon": LEFT}, "right": {"polygon": RIGHT}}
    site = make_site(cameras={"door": {"uri": "x.mp4", "regions": regions}}, events=ALWAYS_AT_ONCE)
    regions = {"left": {"polygon": RIGHT}, "new": {"polygon": LEFT}}
    new = Changes.model_validate({"cameras": {"door": {"regions": regions}}})
    seen = []

    def change(observation) -> None:
        seen.append(list(observation.regions))
        if len(seen) == 3:
            site.use(new)

    site.on_observation(change)
    site.run()
    assert seen[:3] == [["left", "right"]] * 3
    assert seen[-1] == ["left", "new"]
    found = spans(site.events())
    assert [reason for _, _, reason in found["cat", "right"]] == ["not watched"]
    assert len(found["cat", "left"]) == len(found["cat", "new"]) == 1
    assert found["cat", "left"][0][:2] == (0, 19)


@pytest.mark.parametrize("every", [1, 2])
def test_a_renamed_region_is_forgotten_at_once_and_its_detector_once_it_was_closed(
    make_site, hours, tmp_path, every
):
    """Also if a region comes back before or after that, and with the recorders of the memory."""
    hours(*range(60))
    camera = {"uri": "x.mp4", "regions": {"gate": {"polygon": LEFT}}}
    site = make_site(
        cameras={"door": camera},
        events=ALWAYS_AT_ONCE,
        memory={"folder": str(tmp_path)},
        stream=EVERY,
    )
    control, names, most = Control(site.tagger, site), [], 0

    def change(observation) -> None:
        nonlocal most
        most = max(
            most, len(site._detectors["door"]), len(site.memory._recorders if site.memory else ())
        )
        names.append(list(observation.regions))
        if len(names) <= 24 and len(names) % every == 0:
            control.set_regions(
                "door", {f"r{len(names) % 6}": {"polygon": [list(one) for one in LEFT]}}
            )
            assert list(site._status().labels) == [f"door:r{len(names) % 6}"]
            assert len(site.levels("door")) == 1

    site.on_observation(change)
    site.run()
    assert names[-1] == ["r0"]
    assert len({one.region for one in site.events()}) == 6 // every + 1
    assert most <= 4  # two that are removed may wait for frames that are being tagged
    assert [one.region for one in site._detectors["door"]] == ["r0"]
    assert [one.region for one in site.memory._recorders] == ["r0"]
    assert site.open_events() == []


def test_a_region_that_is_closed_and_removed_goes_with_the_camera(make_site, hours):
    hours(7, 8, 9, 13)
    camera = {"uri": "x.mp4", "regions": {"gate": {"polygon": LEFT}}, "schedule": ["06:00-12:00"]}
    site = make_site(cameras={"door": camera}, timezone="UTC", events=ALWAYS_AT_ONCE)
    change, control = site._change, Control(site.tagger, site)

    def changed(item) -> None:
        change(item)
        if item.state == "paused":
            control.set_regions("door", {"new": {"polygon": LEFT}})
            assert list(site._status().labels) == ["door:new"]

    site._change = changed
    site.run()
    assert spans(site.events()) == {("cat", "gate"): [(7, 9, "not watched")]}
    assert [one.region for one in site._detectors["door"]] == ["new"]


def test_polygons_that_are_set_are_checked_and_kept_as_those_of_the_file(make_site, recwarn):
    site = make_site(cameras={"door": {"uri": "test://?size=64x48", "regions": {}}})
    control = Control(site.tagger, site)
    control.set_regions("door", {"new": {"polygon": LEFT, "exclude": False}})
    assert site.config.cameras["door"].model_dump()["regions"]["new"]["polygon"] == tuple(
        map(tuple, LEFT)
    )
    assert [str(one.message) for one in recwarn if "Pydantic" in str(one.message)] == []
    with pytest.raises(errors.OptionError, match="polygon"):
        control.set_regions("door", {"new": {"polygon": [*LEFT, LEFT[0]]}})


def test_a_site_of_paused_cameras_is_healthy_and_warms_no_engine(make_site, hours, monkeypatch):
    hours(6, 7)
    site = make_site(
        cameras={"door": {"uri": "x.mp4", "schedule": ["09:00-10:00"]}}, timezone="UTC"
    )
    states = []
    monkeypatch.setattr(site.tagger, "predict", lambda *_, **__: pytest.fail("an inference"))
    stream = site._stream
    for change in stream:
        states.append((change.state, change.reason))
        if change.state == "paused":
            site._change(change)
            assert site.cameras == {"door": "paused"}
            assert site.unhealthy_cameras() == {}
    assert states == [("paused", "outside its hours"), ("ended", "the end was reached")]
    stream._counters[0].changed("paused", "")
    stream._active = 0.0
    stream._warm_up()
    assert stream._active > 0
