"""The loop, with patterns as cameras: what comes, in which order, how old, and how it ends."""

from __future__ import annotations

import itertools
import logging
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from pvlr_sdk import Camera, Stream, Tagger, errors, open_source
from pvlr_sdk.stream import Backoff, CameraChange, Observation
from pvlr_sdk.tagger import Pending

SMALL = "size=160x120"


def observations(events: Any) -> list[Observation]:
    return [event for event in events if isinstance(event, Observation)]


def changes(events: Any) -> list[tuple[str, str]]:
    return [(event.camera, event.state) for event in events if isinstance(event, CameraChange)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """40 frames at 20 frames a second, each another grey."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (64, 48))
    for index in range(40):
        writer.write(np.full((48, 64, 3), 6 * index, np.uint8))
    writer.release()
    return path


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


def test_every_frame_of_a_file_comes_once_and_in_order(tagger: Tagger, clip: Path) -> None:
    cameras = [Camera("a", str(clip)), Camera("b", str(clip))]
    with Stream(tagger, cameras, every_frame=True, staleness=0) as stream:
        began = time.monotonic()
        events = list(stream)
    assert time.monotonic() - began < 1.5  # as fast as it can: the clip itself lasts 2 s
    for name in "ab":
        assert [seen.frame.sequence for seen in observations(events) if seen.camera == name] == list(range(40))
        assert events[-1].state == "ended"
        assert stream.stats()[name].dropped == stream.stats()[name].late == 0  # it waited for us


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


def test_age_stays_under_two_engine_times_and_a_frame(slow: Callable[[float], Any]) -> None:
    """A source of 60 fps against an engine of 20: at most that old, whatever the caller does meanwhile."""
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


def test_an_engine_of_several_inferences_gets_several_frames(tagger: Tagger) -> None:
    class Parallel:
        """Three inferences at once, each of 60 ms."""

        info: ClassVar = {**tagger.info, "parallel": 3}

        def predict(self, frame: np.ndarray, *, color: str = "bgr") -> Any:
            time.sleep(0.06)
            return tagger.predict(frame, color=color)

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
        np.testing.assert_array_equal(observation.result.scores, tagger.predict(observation.frame.pixels).scores)


def test_cameras_take_turns(slow: Callable[[float], Any]) -> None:
    """Four cameras, one of them three times as fast and one slow: nobody under 80 % of a fair share."""
    rates = {"a": 90, "b": 30, "c": 30, "d": 5}
    cameras = [Camera(name, f"test://?{SMALL}&fps={fps}") for name, fps in rates.items()]
    with Stream(slow(0.02), cameras) as stream:
        counts = Counter(event.camera for event in observations(itertools.islice(stream, 150)))
    rounds = sum(counts.values()) * 0.02
    fair = (50 - 5) / 3 * rounds  # what the slow one leaves, in three parts
    assert all(counts[name] > 0.8 * fair for name in "abc")
    assert counts["d"] > 0.8 * 5 * rounds


def test_a_lost_camera_disturbs_no_other(tagger: Tagger) -> None:
    cameras = [
        Camera("gone", "rtsp://127.0.0.1:9/nobody", timeout=0.5),
        Camera("frozen", f"test://?{SMALL}&fps=30&freeze_after=10", timeout=0.3),
        Camera("fine", f"test://?{SMALL}&fps=30&frames=60"),
    ]
    with Stream(tagger, cameras, reconnect=Backoff(first=0.1, most=0.1)) as stream:
        events = []
        for event in stream:
            events.append(event)
            if isinstance(event, CameraChange) and (event.camera, event.state) == ("fine", "ended"):
                break
        stats = stream.stats()
    assert stats["fine"].tagged > 50
    assert stats["gone"].state == "lost"
    assert stats["gone"].reconnects > 2
    assert "refused" in stats["gone"].reason
    states = [state for name, state in changes(events) if name == "frozen"]
    assert states[:4] == ["live", "lost", "live", "lost"]
    # News and observations of one camera keep their order.
    state = None
    for event in events:
        if event.camera == "frozen":
            if isinstance(event, CameraChange):
                state = event.state
            else:
                assert state == "live"


def test_the_size_may_change(tagger: Tagger) -> None:
    with Stream(tagger, [Camera("a", f"test://?{SMALL}&fps=50&frames=20&resize_after=10")]) as stream:
        sizes = {seen.frame.size for seen in observations(stream)}
        assert stream.stats()["a"].size == (60, 80)
    assert sizes == {(120, 160), (60, 80)}


@pytest.mark.parametrize("how", ["thread", "signal"])
def test_stop_ends_within_a_second(tagger: Tagger, how: str) -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections and never answers
    unanswered = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
    cameras = [Camera("a", f"test://?{SMALL}&fps=1&freeze_after=1"), Camera("b", unanswered, timeout=3)]
    before = set(threading.enumerate())
    stream = Stream(tagger, cameras)
    old = signal.signal(signal.SIGALRM, lambda *_: stream.stop())
    if how == "signal":
        signal.setitimer(signal.ITIMER_REAL, 0.5)
    else:
        threading.Timer(0.5, stream.stop).start()
    began = time.monotonic()
    with stream:
        list(stream)
        assert time.monotonic() - began < 1.5
    signal.signal(signal.SIGALRM, old)
    assert time.monotonic() - began < 2.5
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert left == ["pvlr-camera-b"]  # inside a connection attempt, which ends with its timeout
    silent.close()
    with pytest.raises(StopIteration):
        next(stream)


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
    with Stream(tagger, [Camera("a", f"test://?{SMALL}&fps=30&frames=30")], staleness=0.4) as stream:
        seen = observations(stream)
    walls = [observation.frame.wall for observation in seen]
    assert min(walls) < max(walls) - 3000
    assert all(0 <= observation.age < 0.4 and not observation.late for observation in seen)


def test_files_that_cannot_be_read_end_instead_of_being_tried_for_ever(tagger: Tagger, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    cameras = [Camera("none", str(tmp_path / "none.mp4")), Camera("text", str(tmp_path / "text.mp4"))]
    with Stream(tagger, cameras) as stream:
        ended = {event.camera: event for event in stream}
    assert ended["none"].state == ended["text"].state == "ended"
    assert "no such file" in ended["none"].reason


def test_a_folder_comes_whole_and_its_bad_picture_is_counted(tagger: Tagger, tmp_path: Path) -> None:
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((8, 8, 3), 50 * index, np.uint8))
    (tmp_path / "3.png").write_bytes(b"no picture")
    with Stream(tagger, [Camera("a", str(tmp_path))]) as stream:
        seen = observations(stream)
        assert stream.stats()["a"].decode_errors == 1
    assert [int(observation.frame.pixels[0, 0, 0]) for observation in seen] == [0, 50, 100, 200]


@pytest.mark.parametrize("error", [errors.FrameValueError, errors.NonFiniteError])
@pytest.mark.parametrize("parallel", [1, 2])
def test_frames_that_cannot_be_tagged_are_counted(tagger: Tagger, parallel: int, error: type[errors.PvlrError]) -> None:
    class Picky:
        """Fails each third time."""

        info: ClassVar = {**tagger.info, "parallel": parallel}
        calls: ClassVar = itertools.count()

        def predict(self, frame: np.ndarray, *, color: str = "bgr") -> Any:
            if next(self.calls) % 3 == 0:
                raise error("frame", expected="a good one", got="a bad one", hint="")
            return tagger.predict(frame, color=color)

        def submit(self, frame: np.ndarray, *, color: str) -> Any:
            return Pending(lambda: self.predict(frame, color=color))

    picky: Any = Picky()
    with Stream(picky, [Camera("a", f"test://?{SMALL}&fps=60&frames=60")]) as stream:
        seen = observations(stream)
        stats = stream.stats()["a"]
    assert stats.tagged == len(seen) > 0
    assert stats.failed > 0
    assert stats.tagged + stats.failed + stats.dropped == 60


def test_a_broken_tagger_ends_the_stream(plan: Path) -> None:
    tagger = Tagger(plan)
    with Stream(tagger, [Camera("a", f"test://?{SMALL}&fps=50")]) as stream:
        next(stream)
        tagger.close()
        with pytest.raises(errors.BackendError):
            list(stream)


def test_what_cannot_be(tagger: Tagger) -> None:
    camera = Camera("a", "test://")
    for cameras, options in (
        ([], {}),
        ([camera, camera], {}),
        ([camera], {"staleness": -1}),
        ([camera], {"window": float("nan")}),
    ):
        with pytest.raises(errors.OptionError):
            Stream(tagger, cameras, **options)
    with pytest.raises(errors.SourceUriError):
        Camera("a", "nothing://x")
    for region in ((0, 0, 1), (0, 0, 0, 1), (0.5, 0, 0.6, 1), (0, 0, float("nan"), 1), "left"):
        with pytest.raises(errors.OptionError):
            Camera("a", "test://", region=region)


def test_credentials_stay_out_of_everything(
    tagger: Tagger, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    camera = Camera("a", "rtsp://user:hunter2@127.0.0.1:9/x", timeout=0.5)
    with Stream(tagger, [camera], reconnect=Backoff(first=0.05, most=0.05)) as stream:
        shown = [repr(next(stream)), repr(stream), repr(camera), repr(stream.stats())]
        stream.stop()
    out, err = capfd.readouterr()
    assert "lost" in caplog.text
    for text in (*shown, caplog.text, out, err):
        assert "hunter2" not in text
