"""Runs a sink in a thread of its own, so that a slow or dead one never stops a camera."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

from ..events import Event
from .queues import DiskQueue, MemoryQueue, Queue

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

_LOG = logging.getLogger("pvlr_sdk.sinks")
_FIRST_PAUSE = 0.1
"""Seconds before the second try."""
_TICK = 0.25
"""Seconds after which an idle worker looks whether it shall end."""


class Sink(Protocol[T_contra]):
    """A place for events (or frames). One thread calls it, its worker's.

    ``name`` says what it is in messages and statistics, without credentials.
    """

    name: str

    def write(self, item: T_contra) -> None:
        """Deliver one item, all of it or nothing.

        Raises:
            OSError: not possible now (no space, no connection): the same item is tried again later.
            BrokenPipeError: never again possible.
            Exception: this item can't be delivered; the next one may.
        """

    def close(self) -> None:
        """Finish. Also called from another thread while ``write`` hangs, to get it to return."""


@dataclass
class SinkStats:
    """What a sink has done: items delivered, waiting and lost, and the error it is stuck with."""

    name: str
    delivered: int = 0
    waiting: int = 0
    lost: int = 0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class SinkWorker(Generic[T]):
    """Feeds a sink from a queue, in order. An item that fails is tried again with exponential back-off and jitter.

    Args:
        sink: where the items go.
        queue: where they wait.
        retry: whether to try again at all; a video has no use for frames of the past.
        longest_pause: the most seconds between two tries.
    """

    def __init__(self, sink: Sink[T], queue: Queue[T], *, retry: bool = True, longest_pause: float = 5.0) -> None:
        self._sink = sink
        self._queue = queue
        self._retry = retry
        self._longest_pause = longest_pause
        self._delivered = 0
        self._rejected = 0
        self._error: str | None = None
        self._dead = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pvlr-sink-{sink.name}", daemon=True)
        self._thread.start()

    @property
    def dead(self) -> bool:
        """Whether the sink will never take anything again: whoever read from it is gone."""
        return self._dead

    def submit(self, item: T) -> None:
        """Hand over an item; never waits for the sink."""
        self._queue.put(item)

    def stats(self) -> SinkStats:
        """A snapshot of the counters."""
        lost = self._queue.lost + self._rejected
        return SinkStats(self._sink.name, self._delivered, len(self._queue), lost, self._error)

    def stop(self) -> None:
        """Begin to end: deliver what waits, without tries that follow a failure."""
        self._stopping.set()
        self._queue.wake()

    def close(self, timeout: float) -> SinkStats:
        """End within ``timeout`` seconds; what could not be delivered is lost, unless its queue is on the disk."""
        self.stop()
        self._thread.join(timeout)
        self._queue.close()
        self._sink.close()
        return self.stats()

    def _run(self) -> None:
        while not self._dead:
            try:
                item = self._queue.take(_TICK)
                if item is not None and not self._deliver(item):
                    return
            except OSError as error:  # a queue on a disk that fails
                self._note(error)
                if self._stopping.wait(_FIRST_PAUSE):
                    return
            else:
                if item is None and self._stopping.is_set():
                    return

    def _deliver(self, item: T) -> bool:
        """Whether to go on with the next item."""
        pause = _FIRST_PAUSE
        while True:
            try:
                self._sink.write(item)
            except BrokenPipeError:
                self._dead = True
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
                _LOG.warning("%s: an item was refused: %s: %s", self._sink.name, type(error).__name__, error)
                self._rejected += 1
                break
            else:
                self._delivered += 1
                if self._error is not None:
                    _LOG.warning("%s: works again", self._sink.name)
                    self._error = None
                break
        self._queue.done()
        return True

    def _note(self, error: OSError) -> None:
        """One warning for each outage."""
        if self._error is None:
            _LOG.warning("%s: %s", self._sink.name, error)
        self._error = str(error)


class SpooledWorker:
    """Feeds a sink that may be away for long: events go to a queue on the disk first, and from there to the sink.

    The same methods as :class:`SinkWorker`. Events that are on the disk at the end are delivered by the next process
    that opens the same queue.
    """

    dead = False

    def __init__(self, sink: Sink[Event], queue: DiskQueue, *, longest_pause: float = 5.0) -> None:
        self._delivery = SinkWorker(sink, queue, longest_pause=longest_pause)
        self._intake = SinkWorker(_Intake(sink.name, queue), MemoryQueue[Event]())

    def submit(self, item: Event) -> None:
        """Hand over an event; never waits for the disk or the sink."""
        self._intake.submit(item)

    def stats(self) -> SinkStats:
        """A snapshot of the counters; ``waiting`` are in memory and on the disk."""
        intake, delivery = self._intake.stats(), self._delivery.stats()
        return SinkStats(
            delivery.name,
            delivery.delivered,
            intake.waiting + delivery.waiting,
            intake.lost + delivery.lost,
            delivery.error or intake.error,
        )

    def stop(self) -> None:
        """Begin to end."""
        self._intake.stop()

    def close(self, timeout: float) -> SinkStats:
        """End within ``timeout`` seconds; what could not be delivered stays on the disk."""
        until = time.monotonic() + timeout
        self._intake.close(timeout / 2)
        self._delivery.close(max(0.0, until - time.monotonic()))
        return self.stats()


class _Intake:
    """Puts events on the disk."""

    def __init__(self, name: str, queue: DiskQueue) -> None:
        self.name = f"{name} (queue)"
        self._queue = queue

    def write(self, item: Event) -> None:
        self._queue.put(item)

    def close(self) -> None:
        """The queue belongs to the delivery."""
