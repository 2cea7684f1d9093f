"""The queues between the cameras' threads and the tagging thread: an ordered, bounded inbox for each camera."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TypeAlias

from ..sources import CapturedFrame
from .camera import CameraChange
from .work import FrameWork

Item: TypeAlias = CapturedFrame | CameraChange | FrameWork

_CHANGES = 64
"""Changes kept while nothing is taken; then the oldest are dropped."""

_LONG = 3600.0
"""Longest single wait in seconds; the platform has no infinite one."""


class Inboxes:
    """An inbox for each of ``count`` cameras. A newer frame replaces an older one that was not taken.

    Changes keep their place between the frames: no frame from before an interruption follows the change. ``closed``:
    whether :meth:`close` was called.
    """

    def __init__(self, count: int) -> None:
        # The condition's lock is re-entrant: a signal handler may call close() while its thread is in take().
        self._changed = threading.Condition()
        self._inboxes: list[deque[Item]] = [deque() for _ in range(count)]
        self._turn = 0
        self._open = count
        self.closed = False

    @property
    def finished(self) -> bool:
        """Whether all cameras have ended and everything was taken."""
        with self._changed:
            return not self._open and not any(self._inboxes)

    def put_frame(self, camera: int, frame: CapturedFrame) -> int:
        """Put the newest frame; returns how many it replaced (0 or 1)."""
        with self._changed:
            inbox = self._inboxes[camera]
            replaced = bool(inbox) and isinstance(inbox[-1], CapturedFrame)
            if replaced:
                inbox.pop()
            inbox.append(frame)
            self._changed.notify_all()
        return int(replaced)

    def put_every_frame(self, camera: int, frame: CapturedFrame) -> None:
        """Put a frame once the one before it was taken; returns immediately after :meth:`close`."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or not self._inboxes[camera])
            self._inboxes[camera].append(frame)
            self._changed.notify_all()

    def put_change(self, camera: int, change: CameraChange) -> None:
        """Put a change of state; nothing may follow ``ended``."""
        with self._changed:
            inbox = self._inboxes[camera]
            while len(inbox) >= 2 * _CHANGES:
                inbox.popleft()
            inbox.append(change)
            if change.state == "ended":
                self._open -= 1
            self._changed.notify_all()

    def take(self, until: float) -> tuple[int, Item] | None:
        """Take the oldest item of the next camera in turn; waits until this ``time.monotonic()``.

        None: nothing arrived, or :meth:`close` was called, or all cameras have ended and everything was taken.
        """
        with self._changed:
            while not self.closed:
                count = len(self._inboxes)
                for camera in ((self._turn + step) % count for step in range(count)):
                    if self._inboxes[camera]:
                        self._turn = camera + 1
                        item = self._inboxes[camera].popleft()
                        self._changed.notify_all()
                        return camera, item
                remaining = until - time.monotonic()
                if remaining <= 0 or not self._open:
                    break
                self._changed.wait(min(remaining, _LONG))
        return None

    def put_back(self, camera: int, work: FrameWork) -> None:
        """Put back a frame of which pieces are left: the camera's next item, in its turn."""
        with self._changed:
            self._inboxes[camera].appendleft(work)

    def sleep(self, seconds: float) -> bool:
        """Wait, but not beyond :meth:`close`; returns whether that was called."""
        with self._changed:
            return self._changed.wait_for(lambda: self.closed, min(seconds, _LONG))

    def close(self) -> None:
        """End all waits. Safe in a signal handler."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
