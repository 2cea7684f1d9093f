"""Where cameras' threads leave frames and the tagging thread takes them: an ordered, bounded inbox for each camera."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TypeAlias

from ..sources import CapturedFrame
from .events import CameraChange

Item: TypeAlias = CapturedFrame | CameraChange

_CHANGES = 64
"""Changes kept for a reader that takes nothing; then the oldest go."""

_LONG = 3600.0
"""The longest single wait, in seconds: the platform takes no infinite one."""


class Inboxes:
    """An inbox for each of ``count`` cameras. A newer frame replaces an older one that nobody has taken.

    Changes keep their place between the frames, so that no frame from before a cut comes after the news of it.
    """

    def __init__(self, count: int) -> None:
        # The condition's lock is re-entrant: a signal handler may call close() while its thread is in take().
        self._changed = threading.Condition()
        self._inboxes: list[deque[Item]] = [deque() for _ in range(count)]
        self._turn = 0
        self._open = count
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    @property
    def finished(self) -> bool:
        """Whether all cameras have ended and everything was taken."""
        with self._changed:
            return not self._open and not any(self._inboxes)

    def put_frame(self, camera: int, frame: CapturedFrame) -> int:
        """Leave the newest frame; answers how many it replaced (0 or 1)."""
        with self._changed:
            inbox = self._inboxes[camera]
            replaced = bool(inbox) and isinstance(inbox[-1], CapturedFrame)
            if replaced:
                inbox.pop()
            inbox.append(frame)
            self._changed.notify_all()
        return int(replaced)

    def put_every_frame(self, camera: int, frame: CapturedFrame) -> None:
        """Leave a frame once the one before it was taken; returns at once after :meth:`close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._inboxes[camera])
            self._inboxes[camera].append(frame)
            self._changed.notify_all()

    def put_change(self, camera: int, change: CameraChange) -> None:
        """Leave the news of a state; after ``ended`` nothing may follow."""
        with self._changed:
            inbox = self._inboxes[camera]
            while len(inbox) >= 2 * _CHANGES:
                inbox.popleft()
            inbox.append(change)
            if change.state == "ended":
                self._open -= 1
            self._changed.notify_all()

    def take(self, until: float) -> tuple[int, Item] | None:
        """The next camera's oldest item, in turn; waits for one until that ``time.monotonic()``.

        None: nothing came, or :meth:`close` was called, or all cameras have ended and everything was taken.
        """
        with self._changed:
            while not self._closed:
                count = len(self._inboxes)
                for camera in ((self._turn + step) % count for step in range(count)):
                    if self._inboxes[camera]:
                        self._turn = camera + 1
                        item = self._inboxes[camera].popleft()
                        self._changed.notify_all()
                        return camera, item
                rest = until - time.monotonic()
                if rest <= 0 or not self._open:
                    break
                self._changed.wait(min(rest, _LONG))
        return None

    def sleep(self, seconds: float) -> bool:
        """Wait so long, or until :meth:`close`; answers whether that was called."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, min(seconds, _LONG))

    def close(self) -> None:
        """Let everyone who waits go. Safe in a signal handler."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
