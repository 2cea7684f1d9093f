"""Feeds a sink that may be away for long: events wait on disk, and on a full disk take a way around it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

from ..events import Event
from .queues import DiskQueue
from .worker import FIRST_PAUSE, TICK, Sink, SinkStats, SinkWorker

_LOG = logging.getLogger(__package__)
_LONGEST_PAUSE = 5.0
"""Maximum seconds between two attempts to write to the disk."""


class Spool:
    """A :class:`.queues.Queue` in two stages: a small one in memory, from which :meth:`store` moves events to the disk.

    While the disk rejects events, the receiver gets them from memory, after those on the disk: the order stays. Only
    what exceeds ``capacity`` in memory meanwhile is lost, the oldest first. An event that was taken from memory, but is
    not delivered yet when the disk accepts events again, is stored like the others: it survives the process.

    Args:
        disk: the events on disk.
        capacity: maximum number of events in memory.
    """

    def __init__(self, disk: DiskQueue, capacity: int = 1000) -> None:
        self._disk = disk
        self._capacity = capacity
        self._memory: deque[Event] = deque()
        self._dropped = 0
        self._held = False  # the first event in memory is being stored or delivered: it cannot be dropped
        self._direct = False  # it is being delivered
        self._rejecting = False
        self._state = threading.Lock()  # of the five above; never held during I/O
        self._moving = threading.Lock()  # held while an event is stored, taken or removed
        self._arrived, self._ready = threading.Event(), threading.Event()

    @property
    def lost(self) -> int:
        """Number of events that were dropped, in memory and on the disk."""
        return self._dropped + self._disk.lost

    def put(self, item: Event) -> None:
        with self._state:
            if len(self._memory) >= self._capacity:
                del self._memory[1 if self._held else 0]
                self._dropped += 1
            self._memory.append(item)
            direct = self._rejecting
        self._arrived.set()
        if direct:
            self._ready.set()

    def store(self) -> bool:
        """Move the first event in memory to the disk; returns whether there was one. Raises OutputError."""
        self._arrived.clear()
        with self._moving:
            with self._state:
                if not self._memory:
                    self._rejecting = False  # the next event asks the disk again
                    return False
                self._held, item = True, self._memory[0]
            try:
                self._disk.put(item, taken=self._direct)
            except OSError:
                with self._state:
                    self._held, self._rejecting = self._direct, True
                self._ready.set()
                raise
            self._forget_first()
            self._rejecting = False
        self._ready.set()
        return True

    def wait(self, timeout: float) -> None:
        """Wait for an event to store, :meth:`wake` or the timeout."""
        self._arrived.wait(timeout)

    def take(self, timeout: float) -> Event | None:
        self._ready.clear()
        item = self._next()
        if item is None and self._ready.wait(timeout):
            item = self._next()
        return item

    def wake(self) -> None:
        self._arrived.set()
        self._ready.set()

    def done(self) -> None:
        with self._moving:
            if self._direct:
                self._forget_first()
            else:
                self._disk.done()

    def __len__(self) -> int:
        return len(self._disk) + len(self._memory)

    def close(self) -> None:
        """Store what is left in memory; count as lost what the disk rejects."""
        try:
            while self.store():
                pass
        except OSError:
            with self._state:
                self._dropped += len(self._memory)
                self._memory.clear()
        self._disk.close()

    def _next(self) -> Event | None:
        with self._moving:
            if len(self._disk):
                return self._disk.take(0)
            with self._state:
                if not (self._rejecting and self._memory):
                    return None
                self._held = self._direct = True
                return self._memory[0]

    def _forget_first(self) -> None:
        with self._state:
            if self._memory:  # empty if it was closed meanwhile
                self._memory.popleft()
            self._held = self._direct = False


class SpooledWorker:
    """Feeds a sink from a :class:`Spool`. It has the methods of :class:`.worker.SinkWorker`.

    Events that remain on disk are delivered by the next process that opens the same queue.
    """

    dead = False

    def __init__(self, sink: Sink[Event], queue: DiskQueue, *, longest_pause: float = 5.0) -> None:
        self._spool = Spool(queue)
        self._name = f"{sink.name} (queue)"
        self._error: str | None = None
        self._stopping = threading.Event()
        self._delivery: SinkWorker[Event] = SinkWorker(sink, self._spool, longest_pause=longest_pause)
        self._intake = threading.Thread(target=self._store, name=f"pvlr-queue-{sink.name}", daemon=True)
        self._intake.start()

    def submit(self, item: Event) -> None:
        """Queue an event; never waits for the disk or the sink."""
        self._spool.put(item)

    def announce(self, labels: Mapping[str, Sequence[str]]) -> None:
        """Tell the sink which labels each camera can report from now on."""
        self._delivery.announce(labels)

    def stats(self) -> SinkStats:
        """A snapshot of the counters; ``waiting`` counts events in memory and on disk."""
        stats = self._delivery.stats()
        stats.error = stats.error or self._error
        return stats

    def stop(self) -> None:
        """Start to end."""
        self._stopping.set()
        self._spool.wake()

    def close(self, timeout: float) -> SinkStats:
        """End within ``timeout`` seconds; undelivered events stay on disk."""
        until = time.monotonic() + timeout
        self.stop()
        self._intake.join(timeout / 2)
        self._delivery.close(max(0.0, until - time.monotonic()))
        return self.stats()

    def _store(self) -> None:
        """Move events from memory to the disk until the end. One warning per outage."""
        pause = FIRST_PAUSE
        while True:
            try:
                stored = self._spool.store()
            except OSError as error:
                if self._error is None:
                    _LOG.warning("%s: %s", self._name, error)
                self._error = str(error)
                if self._stopping.wait(pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if stored and self._error is not None:
                _LOG.warning("%s: works again", self._name)
                self._error, pause = None, FIRST_PAUSE
            if not stored:
                if self._stopping.is_set():
                    return
                self._spool.wait(TICK)
