"""Whether a camera still sees what it saw: each second, a frame is compared with the camera's own past.

A small gray picture is divided into blocks. Each is compared with the same block of the usual view, the moving average
of such pictures, by the correlation of their pixels: objects hide some blocks, and light changes hardly any. A picture
out of focus has the same blocks, but weaker edges for its brightness. Only frames like those of the last ten minutes
are learned, so that dusk changes what is usual, and a hand does not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from uuid import uuid4

import cv2
import numpy as np
from numpy.typing import NDArray

from ...frames.yuv import is_yuv
from ..events import Event
from ..memory.moments import small
from ..sources import CapturedFrame
from ..stream import Observation

HEALTH = "camera_health"
"""The label of these events."""
_LEARNED = 60
_PAST = 600
"""Frames before the first judgement, and those that are the past: one per second."""
_HELD = 30
_ACCEPTED = 3600
"""More bad than good frames when an event begins, and seconds until its view is a usual one."""
_SIDE = 320
_BLOCKS = 5
_HEIGHT = 9
_WIDTH = 16
"""The longest side of the gray picture, its rows and columns of blocks, and the pixels of a block when compared."""
_VIEWS = 4
_SLOW = 300
"""Usual views that are remembered, such as by day and by night, and frames of their moving averages."""
_DARK = 20.0
"""The mean of a dark picture, in gray levels."""


class CameraHealth:
    """Judges the frames of one camera, and makes events of it. For one thread."""

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._next = -np.inf
        self._views: deque[NDArray[np.float32]] = deque(maxlen=_VIEWS)
        # light, sharpness, likeness to the usual view, whether it was a repetition
        self._past = np.zeros((_PAST, 4))
        # frames: of the past, and of the usual views since one was accepted
        self._learned = self._averaged = 0
        self._sample = np.zeros(0, np.uint8)
        self._then: CapturedFrame | None = None
        self._repeats = self._bad = 0
        self._event: Event | None = None
        self._offset = self._since = 0.0

    def see(
        self, seen: Observation, monotonic: float, wall: float
    ) -> list[tuple[Event, Observation]]:
        """Look at a frame, at most once a second, with its times. Returns an event that begins or ends, with an
        observation whose frame shows what the camera saw, beside what it sees."""
        if monotonic < self._next:
            return []
        # its past is that of another time of the day; the views stay
        if monotonic > self._next + _PAST:
            self._learned = 0
        self._next = monotonic + 1.0
        light, sharp, blocks = _look(seen.frame)
        self._count_repeats(seen.frame)
        matches = [
            float((_equalized(view) * _equalized(blocks)).sum(1).mean()) for view in self._views
        ]
        match = max(matches, default=1.0)
        state = self._judge(light, sharp, match) if self._learned >= _LEARNED else None
        self._count_bad(state, monotonic, wall)
        if self._bad == 0:
            self._learn((light, sharp, match, self._repeats > 0), blocks, matches)
            self._then = seen.frame
        event = self._begin_or_end(state, blocks, monotonic)
        return [] if event is None else [(event, self._beside(seen))]

    def close(self, monotonic: float, reason: str) -> list[Event]:
        """End the event, if there is one, because no frames will follow."""
        return [self._end(monotonic, reason)] if self._event else []

    def _count_repeats(self, frame: CapturedFrame) -> None:
        """Count the frames since the picture changed last, by some of its pixels."""
        sample = frame.pixels[::8, ::8].copy()
        self._repeats = self._repeats + 1 if np.array_equal(sample, self._sample) else 0
        self._sample = sample

    def _count_bad(self, state: str | None, monotonic: float, wall: float) -> None:
        """Count how many more frames were bad than good, from 0 to the number at which an event begins."""
        # an event that begins here has the offset of its start, whatever the wall clock does
        if self._bad == 0:
            self._since = monotonic
            self._offset = wall - monotonic
        self._bad = max(self._bad - 1, 0) if state is None else min(self._bad + 1, _HELD)

    def _begin_or_end(
        self, state: str | None, blocks: NDArray[np.float32], monotonic: float
    ) -> Event | None:
        """The event that begins or ends with a frame, if one does."""
        if self._event is None:
            if self._bad == _HELD:
                self._event = self._event_of(monotonic, state or "")
            return self._event
        if self._bad == 0:
            return self._end(monotonic, "as before")
        if monotonic - self._since < _ACCEPTED:
            return None
        self._views.append(blocks)
        self._learned = self._averaged = 0
        return self._end(monotonic, "this is the usual view now")

    def _judge(self, light: float, sharp: float, match: float) -> str | None:
        past = np.sort(self._past[: self._learned], 0)
        (usual_light, _, usual_match, repeated), weak = (
            past[len(past) // 2],
            past[len(past) // 10, 1],
        )
        if self._repeats >= _HELD and not repeated:
            return "frozen"
        if light < _DARK and light < usual_light / 4:
            return "dark" if match > 0.1 else "covered"
        edges = sharp / weak
        if match < usual_match / 2:
            return "turned" if edges > 0.75 else "covered"
        return "blurred" if edges < 0.5 else None

    def _learn(
        self, values: tuple[float, ...], blocks: NDArray[np.float32], matches: list[float]
    ) -> None:
        self._past[self._learned % _PAST] = values
        self._learned = self._learned + 1
        self._averaged = self._averaged + 1
        if matches:
            view = self._views[int(np.argmax(matches))]
            view += (blocks - view) / min(self._averaged, _SLOW)
        else:
            self._views.append(blocks)

    def _event_of(self, monotonic: float, state: str) -> Event:
        start = self._since + self._offset
        wall = monotonic + self._offset
        return Event(
            "on", str(uuid4()), self._camera, HEALTH, wall, 1.0, 1.0, wall, start, health=state
        )

    def _end(self, monotonic: float, reason: str) -> Event:
        event = self._event
        self._event = None
        self._bad = 0
        wall = monotonic + self._offset
        assert event is not None, "there is one"
        return replace(
            event, state="off", time=wall, score=0.0, end=wall, reason=f"{event.health}: {reason}"
        )

    def _beside(self, seen: Observation) -> Observation:
        now = small(seen.frame)
        then = cv2.resize(small(self._then or seen.frame), (now.shape[1], now.shape[0]))
        return replace(seen, frame=replace(seen.frame, pixels=np.hstack([then, now]), order="bgr"))


def _look(frame: CapturedFrame) -> tuple[float, float, NDArray[np.float32]]:
    """The mean, the deviation of the Laplacian for this mean, and float32 (blocks, pixels) of a frame."""
    pixels = frame.pixels[: frame.size[0]] if is_yuv(frame.order) else frame.pixels
    scale = min(1.0, _SIDE / max(pixels.shape[:2]))
    gray = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if gray.ndim == 3:
        gray = cv2.cvtColor(
            gray, cv2.COLOR_BGR2GRAY if frame.order == "bgr" else cv2.COLOR_RGB2GRAY
        )
    light = float(gray.mean())
    sharp = float(cv2.Laplacian(gray, cv2.CV_32F).std()) / (light + 1)
    cells = cv2.resize(
        gray, (_BLOCKS * _WIDTH, _BLOCKS * _HEIGHT), interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    blocks = cells.reshape(_BLOCKS, _HEIGHT, _BLOCKS, _WIDTH).swapaxes(1, 2).reshape(_BLOCKS**2, -1)
    return light, sharp, blocks


def _equalized(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blocks with the mean 0 and the length 1."""
    centred = blocks - blocks.mean(1, keepdims=True)
    return centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-3)
