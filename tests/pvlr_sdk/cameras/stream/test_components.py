"""The loop's components on their own: regions, backoff, inboxes, and the moment at which a frame is taken."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk import Camera
from pvlr_sdk.cameras.sources import CapturedFrame
from pvlr_sdk.cameras.stream import CameraChange
from pvlr_sdk.cameras.stream.inboxes import Inboxes
from pvlr_sdk.cameras.stream.pace import EnginePace, Playback
from pvlr_sdk.cameras.stream.reader import pause_before
from pvlr_sdk.cameras.stream.work import FrameWork
from tests.waiting import LONG, joined, until


def frame(
    pixels: np.ndarray | None = None, order: str = "bgr", sequence: int = 0, at: float | None = None
) -> CapturedFrame:
    pixels = np.zeros((4, 4, 3), np.uint8) if pixels is None else pixels
    return CapturedFrame(pixels, order, time.monotonic(), time.time(), at, sequence)


def change(state: str) -> CameraChange:
    return CameraChange("a", state, "", 0.0)  # type: ignore[arg-type]


FRACTION = st.floats(0, 0.99)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    FRACTION,
    FRACTION,
    st.floats(0.001, 1),
    st.floats(0.001, 1),
)
def test_a_region_lies_within_the_picture_and_is_never_empty(
    height: int, width: int, left: float, top: float, across: float, down: float
) -> None:
    camera = Camera("a", "test://", region=(left, top, min(across, 1 - left), min(down, 1 - top)))
    rows, columns = np.indices((height, width), np.uint8)
    part = camera.parts[0].cut(frame(np.stack([rows, columns, rows], 2)))
    assert part.size
    np.testing.assert_allclose(part[0, 0, :2], (top * height, left * width), atol=1)
    end = (top + min(down, 1 - top)) * height, (left + min(across, 1 - left)) * width
    # a region narrower than a pixel is one wide
    np.testing.assert_allclose(part[-1, -1, :2] + 1.0, end, atol=1.51)


@pytest.mark.parametrize(
    "region",
    [(0.0, 0.0, 1.0, 1.0), (0.5, 0.25, 0.5, 0.5), (0.3, 0.1, 0.31, 0.7), (0.99, 0.99, 0.01, 0.01)],
)
@pytest.mark.parametrize("order", ["nv12", "nv12-bt709-full"])
def test_a_region_of_nv12_shows_what_a_region_of_its_colours_shows(
    region: tuple[float, float, float, float], order: str
) -> None:
    bgr = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    planar = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    chroma = planar[48:].reshape(2, -1).T.reshape(24, 64)
    nv12 = np.concatenate([planar[:48], chroma])
    camera = Camera("a", "test://", region=region)
    part = cv2.cvtColor(camera.parts[0].cut(frame(nv12, order)), cv2.COLOR_YUV2BGR_NV12)
    whole = cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12)
    left, top = (
        2 * min(int(region[axis] * cells + 0.5), cells - 1) for axis, cells in ((0, 32), (1, 24))
    )
    np.testing.assert_array_equal(
        part, whole[top : top + part.shape[0], left : left + part.shape[1]]
    )


def test_grey_and_whole_frames_are_not_copied() -> None:
    pixels = np.zeros((8, 8), np.uint8)
    assert Camera("a", "test://").parts[0].cut(frame(pixels, "gray")) is pixels
    assert (
        Camera("a", "test://", region=(0, 0, 0.5, 0.5)).parts[0].cut(frame(pixels, "gray")).base
        is pixels
    )


@given(st.integers(0, 10**9))
def test_waits_grow_up_to_the_longest_and_differ(attempt: int) -> None:
    longest = min(0.25 * 2.0 ** min(attempt, 100), 8)
    waits = {pause_before(attempt, 8) for _ in range(20)}
    assert len(waits) > 1
    assert all(0.5 * longest <= wait <= longest for wait in waits)


def test_inboxes_keep_the_newest_frame_and_every_change_in_order() -> None:
    inboxes = Inboxes(1)
    replaced = [inboxes.put_frame(0, frame(sequence=number)) for number in range(3)]
    inboxes.put_change(0, change("lost"))
    replaced += [inboxes.put_frame(0, frame(sequence=number)) for number in range(3, 5)]
    assert replaced == [0, 1, 1, 0, 1]
    taken = [inboxes.take(time.monotonic()) for _ in range(4)]
    found = [
        item and getattr(item[1], "sequence", getattr(item[1], "state", None)) for item in taken
    ]
    assert found == [2, "lost", 4, None]


def test_inboxes_are_bounded_whatever_happens() -> None:
    inboxes = Inboxes(1)
    for number in range(10_000):
        inboxes.put_frame(0, frame(sequence=number))
        inboxes.put_change(0, change("lost"))
    count = 0
    while inboxes.take(time.monotonic()):
        count += 1
    assert count < 200


def test_inboxes_are_taken_from_in_turn() -> None:
    inboxes = Inboxes(3)
    order = []
    for number in range(4):
        for camera in (0, 2, 0):  # camera 1 has nothing, 0 is twice as fast
            inboxes.put_frame(camera, frame(sequence=number))
        for _ in range(2):
            item = inboxes.take(time.monotonic())
            assert item
            order.append(item[0])
    assert order == [0, 2] * 4


def test_what_is_put_back_is_the_next_of_its_camera_in_its_turn() -> None:
    inboxes = Inboxes(2)
    for camera in (0, 1):
        inboxes.put_frame(camera, frame(sequence=camera))
    work = FrameWork(0, frame(sequence=0))
    assert (inboxes.take(time.monotonic()) or (1, None))[0] == 0
    inboxes.put_back(0, work)
    assert inboxes.put_frame(0, frame(sequence=2)) == 0  # it does not replace what has begun
    inboxes.put_change(0, change("lost"))
    order = [inboxes.take(time.monotonic()) or (-1, None) for _ in range(4)]
    assert [camera for camera, _ in order] == [1, 0, 0, 0]
    assert order[1][1] is work


def test_every_frame_waits_until_the_one_before_is_taken_or_all_is_closed() -> None:
    inboxes = Inboxes(1)
    put: list[int] = []

    def fill() -> None:
        for number in range(5):
            inboxes.put_every_frame(0, frame(sequence=number))
            put.append(number)

    thread = threading.Thread(target=fill)
    thread.start()
    until(lambda: put)
    assert put == [0]
    taken = [inboxes.take(time.monotonic() + LONG) for _ in range(3)]
    assert [item and item[1].sequence for item in taken] == [0, 1, 2]  # type: ignore[union-attr]
    inboxes.close()
    assert joined(thread)
    assert inboxes.take(time.monotonic() + 10) is None  # at once


def test_an_estimate_that_is_too_long_comes_down_again() -> None:
    """A caller that looks too late finds every frame done; its delay must not count as the engine's time."""
    pace = EnginePace()
    pace.inferred(0.5, waited=0.4)
    looks = 0
    while pace.inference > 0.011:
        looks += 1
        assert looks < 200
        waited = max(0.010 - pace.inference, 0.0)  # the caller looks at the estimated end
        pace.inferred(max(pace.inference, 0.010), waited)
    for _ in range(50):
        pace.inferred(0.010, waited=0.002)
    assert pace.inference == pytest.approx(0.010, rel=0.05)
    for _ in range(50):
        pace.prepared(0.002)
    assert pace.last_moment(100.0) == pytest.approx(100 - 0.002 - 0.005, abs=1e-4)


def test_a_process_that_was_stopped_for_a_minute_has_no_slow_engine() -> None:
    pace = EnginePace()
    for _ in range(20):
        pace.inferred(0.010, waited=0.005)
    pace.inferred(60.0, waited=59.9)
    asleep = 0.0
    for _ in range(100):
        asleep += max(pace.inference - 0.010, 0.0)  # the caller looks at the estimated end
        pace.inferred(max(pace.inference, 0.010), max(0.010 - pace.inference, 0.0))
    assert asleep < 0.1


def test_a_file_is_shown_at_its_own_pace_and_jumps_of_its_clock_do_no_harm() -> None:
    playback, inboxes = Playback(), Inboxes(1)
    began = time.monotonic()
    shown = [
        playback.hold(frame(at=at), inboxes).captured - began
        for at in (5.0, 5.1, 5.2, 900.0, 900.1, 0.0, 0.1)
    ]
    np.testing.assert_allclose(shown, [0, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4], atol=0.08)
