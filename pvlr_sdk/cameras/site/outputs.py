"""All outputs of a site: its sinks, subscribers and snapshots."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..._util.escape import file_name
from ..events import Event
from ..sinks import MemoryQueue, SinkStats, SinkWorker
from ..sinks.settings import EventSinkSettings, FrameSinkSettings
from ..sinks.snapshots import Snapshot, SnapshotSink
from ..sinks.worker import CallbackSink, Commands, SiteStatus
from ..stream import Observation
from .config import SiteConfig

_LOG = logging.getLogger(__name__)
CLOSE_SECONDS = 0.6
"""Time for all sinks together to deliver what waits when the site stops."""
_SNAPSHOTS_WAITING = 16
_REMEMBERED = 1000
"""Number of events that :meth:`Site.events` can return."""


class SinkSet:
    """The sinks of a site, each behind its own queue; no method waits for a sink.

    ``count``: the number of events so far.

    Raises:
        OutputError, OptionError, MissingPartError: a sink cannot be opened; none stays open then.
    """

    def __init__(self, config: SiteConfig, site: SiteStatus) -> None:
        self._lock = threading.Lock()
        self._folder = Path()
        self._events: list[SinkWorker[Event]] = []
        self._frames: list[tuple[str, SinkWorker[Observation]]] = []
        self._snapshots: SinkWorker[Snapshot] | None = None
        self._subscribers: list[SinkWorker[Event]] = []
        self._remembered: deque[Event] = deque(maxlen=_REMEMBERED)
        self._open: dict[str, Event] = {}
        self.count = 0
        try:
            for sink in config.sinks:
                if isinstance(sink, EventSinkSettings):
                    self._events.append(sink.open(site))
                elif isinstance(sink, FrameSinkSettings):
                    self._frames += [
                        (camera, sink.open(camera)) for camera in sink.cameras or config.cameras
                    ]
        except BaseException:
            for worker in self._workers():
                worker.close(0.0)
            raise
        if config.events.snapshots:
            most = int(config.events.snapshots_mb * 1e6)
            snapshots = SnapshotSink(config.events.snapshots, most, self._announce_image)
            self._folder = snapshots.folder
            self._snapshots = SinkWorker(snapshots, MemoryQueue(_SNAPSHOTS_WAITING), retry=False)

    @property
    def dead(self) -> bool:
        """Whether there are sinks of events, and the readers of all of them are gone."""
        return (
            bool(self._events) and all(sink.dead for sink in self._events) and not self._subscribers
        )

    def announce(self, site: SiteStatus) -> None:
        """Tell the sinks of events the state of the site."""
        for worker in self._events:
            worker.sink.announce(site)

    def obey(self, commands: Commands) -> None:
        """Let the sinks of events pass commands on."""
        for worker in self._events:
            worker.sink.obey(commands)

    def submit(self, event: Event) -> None:
        """Pass an event to every sink and subscriber, and remember it."""
        with self._lock:
            self.count += 1
            self._remembered.append(event)
            if event.state == "on":
                self._open[event.id] = event
            else:
                self._open.pop(event.id, None)
            receivers = [*self._events, *self._subscribers]
        for receiver in receivers:
            receiver.submit(event)

    def events(self, since: float | None, limit: int) -> list[Event]:
        """See :meth:`Site.events`."""
        with self._lock:
            events = [event for event in self._remembered if since is None or event.time > since]
        return events[-limit:] if limit > 0 else []

    def events_after(self, count: int) -> tuple[int, list[Event]]:
        """See :meth:`Site.events_after`."""
        with self._lock:
            new = self.count - count
            return self.count, list(self._remembered)[-new:] if new > 0 else []

    def open_events(self) -> list[Event]:
        """The ``on`` events that have not ended yet, oldest first."""
        with self._lock:
            return list(self._open.values())

    def with_snapshot(self, event: Event, seen: Observation) -> Event:
        """The event with the path of its snapshot, which is written in the background."""
        if self._snapshots is None or event.state == "off":
            return event
        path = self._folder / file_name(event.camera) / f"{event.id}.jpg"
        self._snapshots.submit(Snapshot(event.camera, path, seen.frame.pixels, seen.frame.order))
        return replace(event, snapshot=str(path))

    def submit_frame(self, seen: Observation) -> None:
        """Pass a tagged frame to the sinks of frames."""
        for camera, worker in self._frames:
            if camera == seen.camera:
                worker.submit(seen)

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call a function with each event; returns a function that ends it."""
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
        """The statistics of the sinks of events, in the order of the configuration, then of snapshots and videos."""
        return [worker.stats() for worker in self._workers()]

    def close(self) -> None:
        """Deliver what waits, for at most 0.6 seconds in total, and close the sinks."""
        until = time.monotonic() + CLOSE_SECONDS
        workers = self._workers() + self._subscribers
        for worker in workers:
            worker.stop()
        for worker in workers:
            stats = worker.close(max(0.0, until - time.monotonic()))
            if stats.lost:
                _LOG.warning("%s: %d lost", stats.name, stats.lost)
            if stats.waiting:
                _LOG.warning("%s: %d waiting on disk for the next start", stats.name, stats.waiting)

    def _announce_image(self, camera: str, jpeg: bytes) -> None:
        for worker in self._events:
            worker.sink.announce_image(camera, jpeg)

    def _workers(self) -> list[Any]:
        snapshots = [self._snapshots] if self._snapshots else []
        return [*self._events, *snapshots, *(worker for _, worker in self._frames)]
