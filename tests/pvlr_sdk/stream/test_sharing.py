"""Other work uses the engine between frames, and waits for them, but not for ever."""

from __future__ import annotations

import threading
import time

import pytest

from pvlr_sdk.stream.sharing import EngineShare


def test_without_frames_it_starts_at_once():
    share = EngineShare(2)
    began = time.monotonic()
    with share.between_frames():
        pass
    assert time.monotonic() - began < 0.05


def test_it_waits_for_the_frame_in_flight():
    share = EngineShare(1)
    share.begin(0)
    threading.Timer(0.05, share.end).start()
    began = time.monotonic()
    with share.between_frames():
        assert 0.04 < time.monotonic() - began < 0.15


def test_it_goes_on_beside_cameras_that_leave_no_gap():
    share = EngineShare(1)
    share.begin(0)
    began = time.monotonic()
    with share.between_frames():
        assert 0.19 < time.monotonic() - began < 0.5


def test_one_piece_at_a_time():
    share = EngineShare(1)
    running: list[int] = []

    def work():
        with share.between_frames():
            running.append(1)
            assert len(running) == 1
            time.sleep(0.01)
            running.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert running == []


@pytest.mark.parametrize(("age", "waits"), [(0.0, False), (0.06, True), (0.12, True), (0.3, False)])
def test_it_does_not_begin_just_before_a_frame(monkeypatch, age, waits):
    """A camera of ten frames per second, and work that takes 50 ms: it fits after a frame, not before the next one."""
    now = [100.0]
    monkeypatch.setattr("pvlr_sdk.stream.sharing.time.monotonic", lambda: now[0])
    share = EngineShare(1)
    for _ in range(20):
        now[0] += 0.1
        share.begin(0)
        share.end()
    share._seconds = 0.05
    now[0] += age
    assert share._fits() is not waits


def test_frames_of_a_camera_that_was_away_are_expected_as_before(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("pvlr_sdk.stream.sharing.time.monotonic", lambda: now[0])
    share = EngineShare(1)
    for pause in (0.1, 0.1, 3600, 0.1):
        now[0] += pause
        share.begin(0)
        share.end()
    assert share._intervals[0] == pytest.approx(0.116)


def test_where_no_gap_is_long_enough_it_begins_at_the_end_of_a_frame():
    """Not in the middle of a gap: it would then delay the next frame by more."""
    share = EngineShare(1)
    ended: list[float] = []
    stop = threading.Event()

    def frames():
        while not stop.is_set():
            share.begin(0)
            time.sleep(0.01)
            share.end()
            ended.append(time.monotonic())
            time.sleep(0.04)

    thread = threading.Thread(target=frames)
    thread.start()
    time.sleep(0.3)
    share._seconds = 1.0
    try:
        with share.between_frames():
            assert time.monotonic() - ended[-1] < 0.03
    finally:
        stop.set()
        thread.join()
