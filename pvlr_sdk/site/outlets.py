"""Everything that leaves a site: its sinks, subscribers, snapshots and videos."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..events import Event
from ..sinks import MemoryQueue, SinkStats, SinkWorker
from ..sinks.callback import CallbackSink
from ..sinks.snapshots import Snapshot, SnapshotSink
from .config import SiteConfig
from .opening import open_sinks

if TYPE_CHECKING:
    from ..stream import Observation

_LOG = logging.getLogger(__name__)
_CLOSE_SECONDS = 0.6
"""How long all sinks together may take to deliver what waits when the site stops."""
_SNAPSHOTS_WAITING = 16


class Outlets:
    """The sinks of a site, each behind a queue of its own; nothing here ever waits for one.

    Raises:
        OutputError, MissingPartError, ConfigError: a sink can't be opened.
    """

    def __init__(self, config: SiteConfig, labels: Mapping[str, Sequence[str]]) -> None:
        self._lock = threading.Lock()
        self._folder = config.events.snapshots
        self._subscribers: list[SinkWorker[Event]] = []
        self._snapshots: SinkWorker[Snapshot] | None = None
        self._sinks, self._videos = open_sinks(config, labels)
        if self._folder:
            snapshots = SnapshotSink(self._folder, int(config.events.snapshots_mb * 1e6))
            self._snapshots = SinkWorker(snapshots, MemoryQueue(_SNAPSHOTS_WAITING), retry=False)

    @property
    def dead(self) -> bool:
        """Whether there are sinks and whoever read from them is gone, all of them."""
        return bool(self._sinks) and all(sink.dead for sink in self._sinks) and not self._subscribers

    def submit(self, event: Event) -> None:
        """Hand a notice to every sink and subscriber."""
        with self._lock:
            receivers = [*self._sinks, *self._subscribers]
        for receiver in receivers:
            receiver.submit(event)

    def with_snapshot(self, event: Event, seen: Observation) -> Event:
        """The event with the path of its picture, which is written in the background."""
        if self._snapshots is None or self._folder is None or event.state == "off":
            return event
        path = self._folder / event.camera / f"{event.id}.jpg"
        self._snapshots.submit(Snapshot(path, seen.frame.pixels, seen.frame.order))
        return replace(event, snapshot=str(path))

    def show(self, seen: Observation) -> None:
        """Hand a tagged frame to the videos."""
        for video in self._videos.get(seen.camera, ()):
            video.submit(seen)

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call a function with each notice; returns what ends that."""
        worker = SinkWorker(CallbackSink(callback), MemoryQueue[Event]())
        with self._lock:
            self._subscribers.append(worker)

        def unsubscribe() -> None:
            with self._lock:
                if worker not in self._subscribers:
                    return
                self._subscribers.remove(worker)
            worker.stop()

        return unsubscribe

    def stats(self) -> list[SinkStats]:
        """The counters of the sinks, in the order of the configuration, then those of snapshots and videos."""
        return [worker.stats() for worker in self._workers()]

    def close(self) -> None:
        """Deliver what waits, for at most 0.6 seconds in all, and free the sinks."""
        until = time.monotonic() + _CLOSE_SECONDS
        workers = self._workers() + self._subscribers
        for worker in workers:
            worker.stop()
        for worker in workers:
            stats = worker.close(max(0.0, until - time.monotonic()))
            if stats.lost:
                _LOG.warning("%s: %d lost", stats.name, stats.lost)
            if stats.waiting:
                _LOG.warning("%s: %d wait on the disk for the next start", stats.name, stats.waiting)

    def _workers(self) -> list[Any]:
        videos = {id(worker): worker for workers in self._videos.values() for worker in workers}
        return [*self._sinks, *([self._snapshots] if self._snapshots else []), *videos.values()]
