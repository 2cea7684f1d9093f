"""Runs a sink in its own thread, so that a slow or dead one never stops a camera."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from .queues import MemoryQueue

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

_LOG = logging.getLogger(__package__)
_FIRST_PAUSE = 0.1
"""Seconds before the second attempt."""
_TICK = 0.25
"""Seconds between two checks of an idle worker for its end."""
_CLOSE_SECONDS = 0.2
"""Minimum time for a queue to store what waits, also after a sink that hangs."""


class CameraStatus(NamedTuple):
    """``available``: its frames arrive; ``enabled``: they are tagged."""

    available: bool
    enabled: bool


class SiteStatus(NamedTuple):
    """What sinks are told of a site: the labels that each place can report, its cameras, the thresholds of these
    labels, the groups of labels that exclude each other, and what is shown for a label."""

    labels: Mapping[str, Sequence[str]]
    cameras: Mapping[str, CameraStatus] = {}
    thresholds: Mapping[str, float] = {}
    groups: Mapping[str, Sequence[str]] = {}
    names: Mapping[str, str] = {}

    def shown(self, label: str) -> str:
        return self.names.get(label, label)


class Commands(NamedTuple):
    """What a sink may ask for: thresholds of labels, and whether a camera is tagged. Both raise PvlrErrors."""

    set_thresholds: Callable[[Mapping[str, float]], None]
    switch_camera: Callable[[str, bool], None]


class Sink(Protocol[T_contra]):
    """A destination of events or frames, called by one thread, its worker's.

    ``name`` identifies it in messages and statistics, without credentials.
    """

    name: str

    def write(self, item: T_contra) -> None:
        """Deliver one item, completely or not at all.

        Raises:
            OSError: not possible now (no space, no connection); the same item is tried again later.
            BrokenPipeError: never possible again.
            Exception: this item cannot be delivered; the next one may be.
        """

    def announce(self, site: SiteStatus) -> None:
        """The state of the site has changed. Called from any thread; must not wait."""
        return

    def announce_image(self, camera: str, jpeg: bytes) -> None:
        """A snapshot of an event. Called from any thread; must not wait."""
        return

    def obey(self, commands: Commands) -> None:
        """Accept commands from now on, if the settings permit it."""
        return

    def close(self) -> None:
        """Finish. Also called from another thread while ``write`` hangs, to make it return."""
        return


@dataclass
class SinkStats:
    """Statistics of a sink: items delivered, waiting and lost, and its current error."""

    name: str
    delivered: int = 0
    waiting: int = 0
    lost: int = 0
    error: str | None = None


class CallbackSink(Sink[T]):
    """Calls a function with each item, and after an OSError again with the same one."""

    def __init__(self, callback: Callable[[T], object]) -> None:
        self.name = f"callback {getattr(callback, '__qualname__', type(callback).__name__)}"
        self._callback = callback

    def write(self, item: T) -> None:
        self._callback(item)


class SinkWorker(Generic[T]):
    """Feeds a sink from a queue, in order. A failed item is tried again with exponential backoff and jitter.

    Args:
        sink: the destination.
        queue: the items that wait for it.
        retry: whether to try again at all; a video does not need old frames.
        longest_pause: maximum seconds between two attempts.

    Attributes:
        sink: the destination.
        dead: whether the sink can never deliver again, because its reader is gone.
    """

    def __init__(
        self,
        sink: Sink[T],
        queue: MemoryQueue[T],
        *,
        retry: bool = True,
        longest_pause: float = 5.0,
    ) -> None:
        self.sink = sink
        self._queue = queue
        self._retry = retry
        self._longest_pause = longest_pause
        self._delivered = 0
        self._rejected = 0
        self._error: str | None = None
        self.dead = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"pvlr-sink-{sink.name}", daemon=True
        )
        self._thread.start()

    def submit(self, item: T) -> None:
        """Queue an item; never waits for the sink or a disk."""
        self._queue.put(item)

    def stats(self) -> SinkStats:
        """A snapshot of the counters."""
        lost = self._queue.lost + self._rejected
        error = self._error or self._queue.error
        return SinkStats(self.sink.name, self._delivered, len(self._queue), lost, error)

    def stop(self) -> None:
        """Start to end: deliver what waits, without another attempt after a failure."""
        self._stopping.set()
        self._queue.wake()

    def close(self, timeout: float) -> SinkStats:
        """End within ``timeout`` seconds; undelivered items are lost, unless the queue is on disk."""
        until = time.monotonic() + timeout
        self.stop()
        self._thread.join(timeout)
        self._queue.close(max(_CLOSE_SECONDS, until - time.monotonic()))
        self.sink.close()
        return self.stats()

    def _run(self) -> None:
        while not self.dead:
            item = self._queue.take(_TICK)
            if item is None and self._stopping.is_set():
                return
            if item is not None and not self._deliver(item):
                return

    def _deliver(self, item: T) -> bool:
        """Deliver an item; returns whether to continue with the next one."""
        pause = _FIRST_PAUSE
        while True:
            try:
                self.sink.write(item)
            except BrokenPipeError:
                self.dead = True
                return False
            except OSError as error:
                self._note(error)
                if not self._retry:
                    self._rejected += 1
                    break
                if self._stopping.wait(pause * random.uniform(0.5, 1.0)):
                    return False
                pause = min(2 * pause, self._longest_pause)
            except Exception as error:  # a bug in a user's callback must not end the thread
                _LOG.warning(
                    "%s: item rejected: %s: %s", self.sink.name, type(error).__name__, error
                )
                self._rejected += 1
                break
            else:
                self._delivered += 1
                if self._error is not None:
                    _LOG.warning("%s: works again", self.sink.name)
                    self._error = None
                break
        self._queue.done()
        return True

    def _note(self, error: OSError) -> None:
        """Log one warning per outage."""
        if self._error is None:
            _LOG.warning("%s: %s", self.sink.name, error)
        self._error = str(error)
