"""A site in this process, on the test pattern and the tiny network."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cameras.site import Site
from pvlr_sdk.cameras.site import site as site_module
from pvlr_sdk.cameras.sources import CapturedFrame
from pvlr_sdk.cameras.stream.pace import Clock
from tests.waiting import until

ALWAYS = {"thresholds": {"cat": 0.0}, "labels": ["cat"], "min_duration": 0.1}


class Running:
    """A site that runs in a thread."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.site.run()
        except errors.PvlrError as error:
            self.error = error

    def until(self, condition, seconds: float = 20.0) -> None:
        until(condition, f"it took too long: {self.site.stats()}", seconds)

    def end(self) -> float:
        """Stop, and how many seconds that took."""
        began = time.monotonic()
        self.site.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()
        return time.monotonic() - began


def test_every_sink_gets_the_same_events(make_site, tmp_path):
    config = {
        "sinks": [
            {"kind": "jsonl", "path": str(tmp_path / "e.jsonl")},
            {"kind": "sqlite", "path": str(tmp_path / "e.db")},
        ],
        "events": {**ALWAYS, "snapshots": str(tmp_path / "snaps")},
    }
    site = make_site(**config)
    called = []
    site.subscribe(called.append)
    running = Running(site)
    running.until(lambda: len(site.events()) == 1)
    assert site.open_events() == site.events()
    seen = site.latest("door")
    assert seen.frame.pixels.shape == (48, 64, 3)
    assert site.cameras == {"door": "live"}
    assert site.healthy()
    assert running.end() < 1

    on, off = site.events()
    assert called == [on, off]
    assert (on.state, off.state, off.reason, on.label, on.camera) == (
        "on",
        "off",
        "stopped",
        "cat",
        "door",
    )
    assert [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()] == [
        on.to_dict(),
        off.to_dict(),
    ]
    with sqlite3.connect(tmp_path / "e.db") as database:
        assert database.execute("SELECT id, reason, snapshot FROM events").fetchall() == [
            (on.id, "stopped", on.snapshot)
        ]
    assert cv2.imread(on.snapshot).shape == (48, 64, 3)
    assert site.open_events() == []
    assert site.events(since=on.time) == [off]
    assert site.events(limit=1) == [off]
    stats = site.stats()
    assert stats["events"] == 2
    assert [(sink["delivered"], sink["lost"]) for sink in stats["sinks"]] == [
        (2, 0),
        (2, 0),
        (1, 0),
    ]


@pytest.mark.slow
def test_a_lost_camera_closes_its_events_and_the_others_run_on(make_site):
    cameras = {
        "bad": {"uri": "test://?fps=60&size=64x48&freeze_after=30", "timeout": 0.5},
        "good": "test://?fps=60&size=64x48",
    }
    site = make_site(cameras=cameras)
    running = Running(site)
    running.until(lambda: any(event.state == "off" for event in site.events()))
    assert site.cameras["good"] == "live"
    assert site.healthy()
    (off,) = (event for event in site.events() if event.state == "off")
    assert off.camera == "bad"
    assert off.reason.startswith("camera lost: ")
    assert off.time - off.end > 0.3  # it ended with the last frame; that it is lost was known later
    # It comes back, with an event of its own.
    running.until(lambda: sum(event.camera == "bad" for event in site.events()) >= 3)
    running.end()
    on = [event for event in site.events() if event.camera == "bad" and event.state == "on"]
    assert on[0].id == off.id != on[1].id
    assert sum(event.camera == "good" for event in site.events()) == 2


def test_a_file_that_ends_closes_its_events(make_site):
    site = make_site(cameras={"a": "test://?fps=60&size=64x48&frames=40"})
    site.run()
    assert [event.reason for event in site.events()][-1].startswith("camera ended")
    assert site.cameras == {"a": "ended"}
    site._stream.turned = -math.inf
    assert site.healthy()  # the server goes on after its cameras
    assert site.latest("a").frame.sequence >= 30  # the last one, for those who come later


@pytest.mark.slow
def test_slow_and_dead_receivers_stop_no_camera(make_site, tmp_path):
    release = threading.Event()
    site = make_site(
        sinks=[
            {
                "kind": "webhook",
                "url": "http://127.0.0.1:9/",
                "queue": str(tmp_path / "q.sqlite"),
                "timeout": 1,
            }
        ],
    )
    site.subscribe(lambda event: release.wait())
    running = Running(site)
    running.until(lambda: site.stats()["cameras"]["door"]["tagged"] > 60)
    stats = site.stats()
    assert stats["cameras"]["door"]["fps"] > 20
    assert stats["sinks"][0]["waiting"] == 1
    assert running.end() < 1.5
    assert site.stats()["sinks"][0]["waiting"] == 2  # on the disk, for the next time
    release.set()


def test_unsubscribing(make_site):
    site = make_site()
    seen = []
    unsubscribe = site.subscribe(seen.append)
    running = Running(site)
    running.until(lambda: seen)
    unsubscribe()
    unsubscribe()
    running.end()
    assert len(seen) == 1


def test_a_loop_that_hangs_is_not_healthy(make_site, monkeypatch):
    monkeypatch.setattr(site_module, "_HUNG", 0.3)
    site = make_site()
    hold = threading.Event()
    running = Running(site)
    running.until(lambda: site.latest("door"))
    assert site.healthy()
    monkeypatch.setattr(site._sinks, "submit_frame", lambda seen: hold.wait())
    running.until(lambda: not site.healthy())
    hold.set()
    monkeypatch.undo()
    running.end()


@pytest.mark.slow
def test_a_camera_without_results_is_named_and_the_site_stays_healthy(make_site, monkeypatch):
    """With version 0.2 a live camera without frames stopped the watchdog, and with it all cameras."""
    monkeypatch.setattr(site_module, "_HUNG", 2.0)
    cameras = {
        "good": "test://?fps=60&size=64x48",
        "bad": {"uri": "test://?fps=60&size=64x48&freeze_after=5", "timeout": 3600},
        "gone": "rtsp://127.0.0.1:9/x",
    }
    site = make_site(cameras=cameras)
    running = Running(site)
    running.until(lambda: site.unhealthy_cameras() == {"bad": "live", "gone": "lost"})
    assert site.healthy()
    running.end()


def test_a_tagger_that_fails_ends_the_site_and_its_events(make_site, plan):
    tagger = Tagger(plan, num_threads=1)
    site = make_site(tagger=tagger)
    running = Running(site)
    running.until(lambda: site.events())
    tagger.close()
    running.until(lambda: running.error)
    assert isinstance(running.error, errors.BackendError)
    assert site.events()[-1].reason == "failed: BackendError"
    running.end()


def test_a_given_tagger_stays_open(make_site, plan):
    with Tagger(plan, num_threads=1) as tagger:
        site = make_site(tagger=tagger, cameras={"a": "test://?fps=60&size=64x48&frames=5"})
        site.run()
        tagger.predict(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ({"cameras": {"a": "foo://x"}}, errors.SourceUriError),
        (
            {"events": {"thresholds": {"cat": 0.3}, "off_thresholds": {"cat": 0.5}}},
            errors.OptionError,
        ),
        ({"sinks": [{"kind": "jsonl", "path": "/proc/nope"}]}, errors.OutputError),
        ({"sinks": [{"kind": "mqtt", "url": "nope"}]}, errors.OptionError),
        (
            {"sinks": [{"kind": "mqtt", "url": "mqtt://h", "queue": "/dev/null/x"}]},
            errors.OutputError,
        ),
    ],
)
def test_what_cannot_be_is_said_at_once(make_site, raw, kind):
    with pytest.raises(kind):
        make_site(**raw)


def frame(captured: float, source_time: float | None, wall: float = 1e9) -> CapturedFrame:
    return CapturedFrame(
        np.zeros((1, 1, 3), np.uint8), "bgr", captured, wall + captured, source_time, 0
    )


def test_the_clock_of_a_camera_is_the_machines():
    clock = Clock(media=False)
    assert clock.read(frame(5, 1)) == (5, 1e9 + 5)
    assert clock.now() == pytest.approx(time.monotonic(), abs=1)


def test_the_clock_of_a_file_counts_from_its_first_frame_and_goes_on_when_it_is_played_again():
    clock = Clock(media=True)
    times = [
        clock.read(frame(captured, at))
        for captured, at in ((5, 0), (5.1, 1), (5.2, 2), (5.3, 0), (5.4, 1))
    ]
    assert times == [(t, 1e9 + 5 + t) for t in (0, 1, 2, 2, 3)]
    assert clock.now() == 3


def test_events_of_a_camera_with_tiles_use_the_thresholds_for_tiles(make_site):
    cameras = {
        name: {"uri": "test://?fps=50&size=64x48&frames=2", "tiles": layout}
        for name, layout in (("plain", "1x1"), ("tiled", "2x1"))
    }
    site = make_site(cameras=cameras, stream={"every_frame": True}, events={})
    site.run()
    plain, tiled = ([limit for _, limit in site.levels(name).values()] for name in cameras)
    assert len(site.latest("tiled").result.tiles) == 3
    assert tiled == site.latest("tiled").result.thresholds.tolist()
    assert all(higher > limit for higher, limit in zip(tiled, plain, strict=True))


def test_sinks_are_told_of_the_thresholds_for_tiles(make_site, monkeypatch):
    site = make_site(
        cameras={"door": {"uri": "test://?fps=50&size=64x48&frames=3", "tiles": "2x1"}}, events={}
    )
    told = []
    monkeypatch.setattr(site._sinks, "announce", lambda status: told.append(status.thresholds))
    site.run()
    tiles = dict(
        zip(site.tagger.labels, site.latest("door").result.thresholds.tolist(), strict=True)
    )
    assert site.tile_thresholds == tiles
    assert told[0] == dict(zip(site.tagger.labels, site.tagger.thresholds.tolist(), strict=True))
    assert told[-1] == tiles
    assert told.count(tiles) == 2  # with the first frame, and at the end
