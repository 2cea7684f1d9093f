"""Other work uses the engine between frames, and waits for them, but not for ever."""

from __future__ import annotations

import threading
import time

import pytest

from pvlr_sdk.cameras.stream.pace import EngineShare
from tests.waiting import LONG


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_it_waits_for_the_frames_in_flight_and_no_longer(monkeypatch, frames):
    monkeypatch.setattr("pvlr_sdk.cameras.stream.pace._PATIENCE", 2 * LONG)
    share, ended = EngineShare(), 0

    def end():
        nonlocal ended
        for _ in range(frames):
            ended += 1
            share.end()

    for _ in range(frames):
        share.begin()
    threading.Timer(0.05, end).start()
    began = time.monotonic()
    with share.between_frames():
        assert ended == frames
        assert time.monotonic() - began < LONG


def test_it_goes_on_beside_cameras_that_leave_no_gap():
    share, began = EngineShare(), time.monotonic()
    share.begin()
    with share.between_frames():
        assert 0.19 < time.monotonic() - began < LONG


def test_one_piece_at_a_time():
    share, entered = EngineShare(), threading.Event()

    def work():
        with share.between_frames():
            entered.set()

    with share.between_frames():
        threading.Thread(target=work).start()
        assert not entered.wait(0.05)
    assert entered.wait(LONG)
