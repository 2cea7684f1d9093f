"""Other work uses the engine between frames, and waits for them, but not for ever."""

from __future__ import annotations

import threading
import time

import pytest

from pvlr_sdk.stream.sharing import EngineShare
from tests.waiting import LONG, joined


@pytest.fixture
def patient(monkeypatch):
    """Work that waits far longer than any test may take."""
    monkeypatch.setattr("pvlr_sdk.stream.sharing._PATIENCE", 2 * LONG)


def test_without_frames_it_starts_at_once(patient):
    share = EngineShare(2)
    began = time.monotonic()
    with share.between_frames():
        assert time.monotonic() - began < LONG


def test_it_waits_for_the_frame_in_flight(patient):
    share = EngineShare(1)
    share.begin(0)
    ended = threading.Event()
    threading.Timer(0.05, lambda: (ended.set(), share.end())).start()
    began = time.monotonic()
    with share.between_frames():
        assert ended.is_set()
        assert time.monotonic() - began < LONG


def test_it_goes_on_beside_cameras_that_leave_no_gap():
    share = EngineShare(1)
    share.begin(0)
    began = time.monotonic()
    with share.between_frames():
        assert 0.19 < time.monotonic() - began < LONG


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


def test_where_no_gap_is_long_enough_it_begins_at_the_end_of_a_frame(monkeypatch):
    """Not in the middle of a gap: it would then delay the next frame by more."""
    now = [100.0]
    monkeypatch.setattr("pvlr_sdk.stream.sharing.time.monotonic", lambda: now[0])
    share = EngineShare(1)
    for _ in range(20):
        now[0] += 0.05
        share.begin(0)
        share.end()
    share._seconds = 5.0  # longer than the gap between two frames
    waits, begun = threading.Event(), threading.Event()
    wait_for = share._changed.wait_for
    monkeypatch.setattr("pvlr_sdk.stream.sharing._PATIENCE", LONG)
    monkeypatch.setattr(share._changed, "wait_for", lambda *given: (waits.set(), wait_for(*given))[1])

    def work():
        with share.between_frames():
            begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not waits.is_set():  # the camera goes on until the work has no patience left
        share._last[0] += 1
        now[0] += 1
        time.sleep(0.001)
    assert not begun.is_set()
    share.begin(0)
    assert not begun.is_set()
    share.end()
    assert begun.wait(LONG)
    assert joined(thread)
