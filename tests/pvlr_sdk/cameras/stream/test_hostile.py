"""Hostile cameras of each transport beside a good one: they are lost, and the good one goes on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from pvlr_sdk import Camera, Stream, Tagger, errors, open_source
from pvlr_sdk.cameras.sources.pattern import PatternSource
from pvlr_sdk.cameras.sources.source import SourceOptions
from pvlr_sdk.cameras.stream import CameraChange, Observation
from tests.waiting import LONG, joined, until

from .hostile import hostile, served

GOOD = Camera("good", "test://?fps=60&size=64x48")


def limited(stream: Stream) -> Iterator[Observation | CameraChange]:
    """What the stream yields; it is stopped if a test waits for too long."""
    timer = threading.Timer(LONG, stream.stop)
    timer.start()
    try:
        yield from stream
    finally:
        timer.cancel()


def watch_until_lost(tagger: Tagger, bad: list[Camera], *, then: int = 30) -> dict[str, str]:
    """Why each bad camera is lost first; afterwards the good one must have ``then`` further results."""
    lost: dict[str, str] = {}
    more: Counter[str] = Counter()
    with Stream(tagger, [GOOD, *bad], longest_pause=0.1) as stream:
        for event in limited(stream):
            if isinstance(event, CameraChange) and event.state == "lost":
                lost.setdefault(event.camera, event.reason)
            more["good"] += (
                isinstance(event, Observation) and event.camera == "good" and len(lost) == len(bad)
            )
            if more["good"] == then:
                break
        assert "good" not in lost
        assert set(lost) == {camera.name for camera in bad}
        assert more["good"] == then
        assert stream.stats()["good"].reconnects == 0
    return lost


def test_a_source_that_sends_sound_alone_is_lost() -> None:
    """PyAV, asked for the packets of the video, never returned."""
    lost: list[errors.SourceLostError] = []

    def read(uri: str) -> None:
        source = open_source(uri, timeout=0.5)
        try:
            while True:
                source.read()
        except errors.SourceLostError as error:
            lost.append(error)

    with served({"sound": hostile()["ts-sound-alone"]}) as uris:
        thread = threading.Thread(target=read, args=(uris["sound"],), daemon=True)
        thread.start()
        assert joined(thread)
    assert "no frame for 0.5 s" in str(lost[0])


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "rtsp", "https"])
def test_hostile_cameras_are_lost_and_the_good_one_goes_on(tagger: Tagger, scheme: str) -> None:
    behaviours = {
        name: one for name, one in hostile().items() if one[0] == scheme and name != "flood"
    }
    with served(behaviours) as uris:
        cameras = [
            Camera(name, uri, timeout=0.5, insecure=scheme == "https") for name, uri in uris.items()
        ]
        watch_until_lost(tagger, cameras)


@pytest.mark.slow
def test_a_camera_that_sends_more_frames_than_can_be_decoded_starves_no_other(
    tagger: Tagger,
) -> None:
    with (
        served({"flood": hostile()["flood"]}) as uris,
        Stream(tagger, [GOOD, Camera("flood", uris["flood"])]) as stream,
    ):
        seen: Counter[str] = Counter()
        for event in limited(stream):
            seen[event.camera] += isinstance(event, Observation)
            if min(seen["good"], seen["flood"]) >= 30:
                break
        assert stream.stats()["good"].reconnects == 0


class _Hangs(PatternSource):
    """A source of a library that ignores its timeout: after some frames ``read`` returns only when it is closed."""

    def read(self) -> Any:
        if self._sequence >= 5:
            self._closed.wait()
        return super().read()


@pytest.mark.slow
@pytest.mark.parametrize("hangs", ["connecting", "reading"])
def test_the_state_does_not_depend_on_the_source(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    from pvlr_sdk.cameras.stream import reader

    open_source, released = reader.open_source, threading.Event()

    def opened(uri: str, **options: Any) -> Any:
        source = open_source(uri, **options)
        if "seed=7" in uri:
            if hangs == "connecting":
                released.wait()
            return _Hangs(source._pattern, SourceOptions(timeout=0.2))
        return source

    monkeypatch.setattr(reader, "open_source", opened)
    lost = watch_until_lost(
        tagger, [Camera("bad", "test://?fps=60&size=64x48&seed=7", timeout=0.2)]
    )
    released.set()
    assert lost == {"bad": "no frame for 0.2 s"}


def test_a_lost_camera_is_live_again_with_its_next_frame(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a new connection: its source did not give up."""
    from pvlr_sdk.cameras.stream import reader

    pause = threading.Event()

    class Pauses(PatternSource):
        def read(self) -> Any:
            if self._sequence == 5:
                pause.wait()
            return super().read()

    monkeypatch.setattr(
        reader,
        "open_source",
        lambda uri, **_: Pauses(reader.parse_uri(uri), SourceOptions(timeout=LONG)),
    )
    states: list[str] = []
    with Stream(tagger, [Camera("a", "test://?fps=60&size=64x48", timeout=0.2)]) as stream:
        for event in limited(stream):
            states += [event.state] if isinstance(event, CameraChange) else []
            if states[-1:] == ["lost"]:
                pause.set()
            if len(states) == 3:
                break
        assert states == ["live", "lost", "live"]
        assert stream.stats()["a"].reconnects == 0


def test_the_loop_turns_without_frames_and_without_warming_up(tagger: Tagger) -> None:
    with Stream(
        tagger, [Camera("a", "test://?fps=60&freeze_after=0", timeout=LONG)], keep_warm=None
    ) as stream:
        began = stream.turned
        thread = threading.Thread(target=lambda: list(stream))
        thread.start()
        until(lambda: stream.turned > began)
        later = stream.turned
        until(lambda: stream.turned > later)
        stream.stop()
        thread.join(LONG)
