"""The stream with test patterns as cameras: results, order, age, fairness and the end."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pvlr_sdk import Camera, Stream, Tagger, open_source
from pvlr_sdk.cameras.stream import Observation, Region
from tests.pvlr_sdk.cameras.stream.seen import changes, observations
from tests.pvlr_sdk.cameras.stream.test_regions import LEFT
from tests.waiting import LONG

SMALL = "size=160x120"


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Path:
    """40 frames at 20 frames per second, each a different gray."""
    return make_clip(40, step=6, fps=20.0)


def test_the_tags_are_those_that_predict_gives(tagger: Tagger) -> None:
    uri = f"test://?{SMALL}&fps=50&frames=5&seed=3"
    with Stream(tagger, [Camera("a", uri)]) as stream:
        events = list(stream)
    assert changes(events) == [("a", "live"), ("a", "ended")]
    reference = open_source(uri)
    pixels = [reference.read().pixels for _ in range(5)]
    for seen in observations(events):
        np.testing.assert_array_equal(seen.frame.pixels, pixels[seen.frame.sequence])
        np.testing.assert_array_equal(seen.result.scores, tagger.predict(seen.frame.pixels).scores)


def test_only_the_region_is_tagged(tagger: Tagger) -> None:
    camera = Camera("a", f"test://?{SMALL}&fps=50&frames=3", region=(0.5, 0.25, 0.5, 0.5))
    with Stream(tagger, [camera]) as stream:
        for seen in observations(stream):
            part = seen.frame.pixels[30:90, 80:]
            np.testing.assert_array_equal(seen.result.scores, tagger.predict(part).scores)
            assert seen.frame.pixels.shape == (120, 160, 3)


def test_cameras_have_tiles_of_their_own(tagger: Tagger) -> None:
    uri = f"test://?{SMALL}&fps=50&frames=3"
    cameras = [
        Camera("a", uri, tiles=(2, 2)),
        Camera("b", uri),
        Camera("c", uri, (0.5, 0, 0.5, 1), (1, 2)),
    ]
    with Stream(tagger, cameras) as stream:
        seen = {one.camera: one.result for one in observations(stream)}
    assert {name: len(result.tiles) for name, result in seen.items()} == {"a": 5, "b": 0, "c": 3}
    assert seen["c"].tiles[2].region == (0, 60, 80, 60)


def test_every_frame_of_a_file_comes_once_and_in_order(
    tagger: Tagger, make_clip: Callable[..., Path]
) -> None:
    clip = make_clip(40, step=6, fps=0.4)
    cameras = [Camera("a", str(clip)), Camera("b", str(clip))]
    with Stream(tagger, cameras, every_frame=True, staleness=0) as stream:
        began = time.monotonic()
        events = list(stream)
    assert time.monotonic() - began < LONG  # as fast as it can: the clip itself lasts 100 s
    for name in "ab":
        assert [
            seen.frame.sequence for seen in observations(events) if seen.camera == name
        ] == list(range(40))
        assert events[-1].state == "ended"
        # a file waits for the caller
        assert stream.stats()[name].dropped == stream.stats()[name].late == 0


@pytest.mark.slow
def test_a_file_plays_at_its_own_pace(slow: Callable[[float], Any], clip: Path) -> None:
    with Stream(slow(0.2), [Camera("a", str(clip))]) as stream:
        began = time.monotonic()
        seen = observations(stream)
        lasted = time.monotonic() - began
    assert 1.9 < lasted < 3.5
    assert len(seen) < 16  # one each 0.2 s
    stats = stream.stats()["a"]
    assert stats.captured == 40
    assert stats.tagged == len(seen)
    assert stats.tagged + stats.dropped == 40


@pytest.mark.slow
def test_age_stays_under_two_engine_times_and_a_frame(slow: Callable[[float], Any]) -> None:
    """A source of 60 fps against an engine of 20: the age is bounded, whatever the caller does."""
    engine, frame = 0.05, 1 / 60
    with Stream(slow(engine), [Camera("a", "test://?size=640x360&fps=60")]) as stream:
        seen = observations(itertools.islice(stream, 60))
        stats = stream.stats()["a"]
    ages = sorted(observation.age for observation in seen[5:])
    assert ages[len(ages) // 2] < engine + 2 * frame + 0.01
    assert ages[-2] < 2 * engine + frame
    assert stats.captured - stats.tagged - stats.dropped <= 3  # all others are accounted for
    # The engine is hardly ever idle: the gaps between answers are its own time.
    done = [observation.frame.captured + observation.age for observation in seen[5:]]
    assert (done[-1] - done[0]) / (len(done) - 1) < 1.1 * engine


@pytest.mark.slow
def test_a_slow_caller_gets_fresh_observations(slow: Callable[[float], Any]) -> None:
    with Stream(slow(0.02), [Camera("a", f"test://?{SMALL}&fps=50")]) as stream:
        ages = []
        for event in itertools.islice(stream, 12):
            time.sleep(0.15)
            ages += [event.age] if isinstance(event, Observation) else []
    assert sorted(ages)[-3] < 0.08


def test_late_ones_are_delivered_and_counted(slow: Callable[[float], Any]) -> None:
    with Stream(slow(0.1), [Camera("a", f"test://?{SMALL}&fps=30")], staleness=0.05) as stream:
        seen = observations(itertools.islice(stream, 8))
        stats = stream.stats()["a"]
    assert all(observation.late == (observation.age > 0.05) for observation in seen)
    assert stats.late == sum(observation.late for observation in seen) == len(seen)


@pytest.mark.slow
def test_an_engine_of_several_inferences_gets_several_frames(tagger: Tagger) -> None:
    class Parallel:
        """Three inferences at once, each of 60 ms."""

        info: ClassVar = {**tagger.info, "parallel": 3}
        workers: ClassVar = ThreadPoolExecutor(4)

        def predict(self, frame: np.ndarray, *, color: str = "bgr") -> Any:
            time.sleep(0.06)
            return tagger.predict(frame, color=color)

        def predict_async(self, frame: np.ndarray, *, color: str = "bgr", **_: Any) -> Future[Any]:
            return self.workers.submit(self.predict, frame, color=color)

    parallel: Any = Parallel()
    cameras = [Camera(name, f"test://?{SMALL}&fps=60&seed={ord(name)}&frames=90") for name in "ab"]
    with Stream(parallel, cameras) as stream:
        began = time.monotonic()
        seen = observations(stream)
        lasted = time.monotonic() - began
    assert len(seen) > 0.8 * 3 * lasted / 0.06
    for name in "ab":
        numbers = [observation.frame.sequence for observation in seen if observation.camera == name]
        assert numbers == sorted(numbers)
        assert len(numbers) > 0.8 * len(seen) / 2
    for observation in seen[:10]:
        np.testing.assert_array_equal(
            observation.result.scores, tagger.predict(observation.frame.pixels).scores
        )


@pytest.mark.slow
def test_cameras_take_turns(slow: Callable[[float], Any]) -> None:
    """Four cameras, one of them three times as fast and one slow: each gets at least 80 % of a fair share."""
    rates = {"a": 90, "b": 30, "c": 30, "d": 5}
    cameras = [Camera(name, f"test://?{SMALL}&fps={fps}") for name, fps in rates.items()]
    with Stream(slow(0.02), cameras) as stream:
        counts = Counter(event.camera for event in observations(itertools.islice(stream, 150)))
    rounds = sum(counts.values()) * 0.02
    fair = (50 - 5) / 3 * rounds  # the rest of the slow one's share, in three parts
    assert all(counts[name] > 0.8 * fair for name in "abc")
    assert counts["d"] > 0.8 * 5 * rounds


RIGHT = ((0.5, 0), (1, 0), (1, 1), (0.5, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [
        {"tiles": (4, 4)},
        {"regions": {f"r{number}": Region(RIGHT) for number in range(16)}},
        {"regions": {"left": Region(LEFT), "right": Region(RIGHT)}, "tiles": (4, 2)},
    ],
    ids=["tiles", "regions", "both"],
)
def test_cameras_share_inferences_and_not_frames(
    slow: Callable[[float], Any], parts: dict[str, Any]
) -> None:
    """One with 16 parts and three with one: each gets a quarter of the engine, and not a quarter of the frames."""
    cameras = [Camera("many", f"test://?{SMALL}&fps=60", **parts)]
    cameras += [Camera(name, f"test://?{SMALL}&fps=60") for name in "abc"]
    with Stream(slow(0.005), cameras) as stream:
        seen = observations(itertools.islice(stream, 300))
    counts = Counter(event.camera for event in seen)
    computed = {name: one.computed for name, one in stream.stats().items()}
    fair = sum(computed.values()) / 4
    assert all(counts[name] > 0.8 * fair for name in "abc")
    assert counts["many"] >= 4
    assert computed["many"] < 1.3 * fair + 17


def test_the_size_may_change(tagger: Tagger) -> None:
    with Stream(
        tagger, [Camera("a", f"test://?{SMALL}&fps=50&frames=20&resize_after=10")]
    ) as stream:
        sizes = {seen.frame.size for seen in observations(stream)}
        assert stream.stats()["a"].size == (60, 80)
    assert sizes == {(120, 160), (60, 80)}


@pytest.mark.slow
def test_stop_ends_within_a_second(tagger: Tagger) -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # accepts connections and never answers
    unanswered = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
    cameras = [
        Camera("a", f"test://?{SMALL}&fps=1&freeze_after=1"),
        Camera("b", unanswered, timeout=3),
    ]
    before = set(threading.enumerate())
    stream = Stream(tagger, cameras)
    threading.Timer(0.5, stream.stop).start()
    began = time.monotonic()
    with stream:
        list(stream)
        assert time.monotonic() - began < 1.5
    assert time.monotonic() - began < 2.5
    left = [
        thread.name for thread in set(threading.enumerate()) - before if "camera" in thread.name
    ]
    assert left == ["pvlr-camera-b"]  # inside a connection attempt, which ends with its timeout
    silent.close()
    with pytest.raises(StopIteration):
        next(stream)


HANDLER = """
import signal, sys, time
from pvlr_sdk import Camera, Stream, Tagger

with Tagger(sys.argv[1], num_threads=1) as tagger:
    with Stream(tagger, [Camera("a", "test://?fps=60&size=64x48&freeze_after=20")]) as stream:
        signal.signal(signal.SIGALRM, lambda *_: stream.stop())
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        began = time.monotonic()
        print(len(list(stream)))
        sys.exit(time.monotonic() - began > 1.5)
"""


@pytest.mark.slow
def test_a_signal_handler_may_stop_it(plan: Path) -> None:
    command = [sys.executable, "-c", HANDLER, str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2  # live, and a frame


@pytest.mark.slow
def test_keep_warm_runs_the_engine_while_nothing_comes(slow: Callable[[float], Any]) -> None:
    tagger, calls = slow(0.0), []
    real = tagger.predict
    tagger.predict = lambda frame: calls.append(time.monotonic()) or real(frame)
    with Stream(tagger, [Camera("a", f"test://?{SMALL}&fps=1&frames=3")], keep_warm=0.1) as stream:
        list(stream)
    assert 10 < len(calls) < 22
    with Stream(tagger, [Camera("a", f"test://?{SMALL}&fps=2&frames=2")], keep_warm=None) as stream:
        list(stream)
    assert len(calls) < 22


def test_the_clock_on_the_wall_may_jump(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    real, began = time.time, time.monotonic()
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * (time.monotonic() - began > 0.3))
    with Stream(
        tagger, [Camera("a", f"test://?{SMALL}&fps=30&frames=30")], staleness=LONG
    ) as stream:
        seen = observations(stream)
    walls = [observation.frame.wall for observation in seen]
    assert min(walls) < max(walls) - 3000
    assert all(0 <= observation.age < LONG and not observation.late for observation in seen)
