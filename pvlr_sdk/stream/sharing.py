"""The engine between a stream's frames and other work, such as uploaded images."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 0.2
"""Maximum wait in seconds for the end of the frames in flight, so that uploads are not starved."""


class EngineShare:
    """Lets other work use the engine while no frame is in flight, one piece at a time: a frame waits at most for one.

    Without it, four clients that upload without pause leave a camera's results five times as old (simulated engine).
    """

    def __init__(self) -> None:
        self._in_flight = 0
        self._ended = threading.Condition()
        self._turn = threading.Lock()

    def begin(self) -> None:
        """A frame is in flight."""
        with self._ended:
            self._in_flight += 1

    def end(self) -> None:
        """A frame is no longer in flight."""
        with self._ended:
            self._in_flight -= 1
            self._ended.notify_all()

    @contextmanager
    def between_frames(self) -> Iterator[None]:
        """Wait until no frame is in flight, but not for long; other callers wait until this one is done."""
        with self._turn:
            with self._ended:
                self._ended.wait_for(lambda: not self._in_flight, _PATIENCE)
            yield
