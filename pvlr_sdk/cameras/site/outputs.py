"""All outputs of a site: its sinks, subscribers and snapshots."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..._util.escape import file_name
from ...tagger import Tagger
from ..events import Event, EventDetector
from ..memory.recorder import Recorded, Recorder
from ..memory.sink import Follow, MemorySink
from ..sinks import MemoryQueue, SinkStats, SinkWorker
from ..sinks.settings import EventSinkSettings, FrameSinkSettings
from ..sinks.snapshots import Snapshot, SnapshotSink
from ..sinks.worker import CallbackSink, Commands, SiteStatus
from ..stream import Observation
from .config import SiteConfig

_LOG = logging.getLogger(__name__)
_CLOSE_SECONDS = 0.6
"""Time for all sinks together to deliver what waits when the site stops."""
_SNAPSHOTS_WAITING = 16
_REMEMBERED = 1000
"""Number of events that :meth:`Site.events` can return."""


class SinkSet:
    """The sinks of a site, and its memory, each behind its own queue; no method waits for a sink.

    ``count``: the number of events so far.

    Raises:
        OutputError, OptionError, MissingPartError: a sink cannot be opened; none stays open then.
    """

    def __init__(self, config: SiteConfig, site: SiteStatus, tagger: Tagger) -> None:
        self._lock = threading.Lock()
        self._folder = Path()
        self._events: list[SinkWorker[Event]] = []
        self._frames: list[tuple[str, SinkWorker[Observation]]] = []
        self._snapshots: SinkWorker[Snapshot] | None = None
        self._memory: SinkWorker[Recorded] | None = None
        self._recorders: dict[EventDetector, Recorder] = {}
        self._config, self._tagger = config.memory, tagger
        self._subscribers: list[SinkWorker[Event]] = []
        self._remembered: deque[Event] = deque(maxlen=_REMEMBERED)
        self._open: dict[str, Event] = {}
        self.count = 0
        try:
            if config.memory:
                self._memory = config.memory.open()
            for sink in config.sinks:
                if isinstance(sink, EventSinkSettings):
                    self._events.append(sink.open(site))
                elif isinstance(sink, FrameSinkSettings):
                    self._frames += [(camera, sink.open(camera)) for camera in sink.cameras or config.cameras]
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
        return bool(self._events) and all(sink.dead for sink in self._events) and not self._subscribers

    def follow(self, follow: Follow) -> None:
        """Call a function with what answers prove, see :meth:`MemorySink.follow`; not while the site runs."""
        if self._memory and isinstance(self._memory.sink, MemorySink):
            self._memory.sink.follow(follow)

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
            found = [event for event in self._remembered if since is None or event.time > since]
        return found[-limit:] if limit > 0 else []

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

    def remember(
        self,
        detector: EventDetector,
        events: Sequence[Event],
        ending: tuple[float, str],
        seen: Observation | None = None,
        wall: float = 0.0,
    ) -> None:
        """Record what a detector has just seen, at a wall time, or else that it was closed: when, and why."""
        if self._memory is None or self._config is None:
            return
        if (recorder := self._recorders.get(detector)) is None:
            options = self._config.floor, self._config.samples_per_hour, self._features_of
            recorder = self._recorders[detector] = Recorder(detector, self._memory.submit, *options)
        if seen and (result := seen.regions.get(detector.region)):
            recorder.saw(wall, result, seen.frame, events)
        else:
            recorder.closed(*ending, events)

    def forget(self, detectors: Iterable[EventDetector]) -> None:
        """Record nothing more of detectors that were closed."""
        for detector in detectors:
            self._recorders.pop(detector, None)

    def of_health(self, event: Event, pictures: Observation, wall: float) -> Event:
        """An event of a camera's health with its snapshot; the pictures are remembered, too."""
        recorders = [one for detector, one in self._recorders.items() if detector.camera == event.camera]
        for recorder in recorders[:1] if event.state == "on" else ():
            recorder.keep("health", wall, pictures.result, pictures.frame)
        return self.with_snapshot(event, pictures)

    def _features_of(self, plan: str) -> str | None:
        info = self._tagger.info  # of another plan, if it has just been replaced
        return info["features"] if info["sha256"] == plan else None

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
        """The statistics of the sinks of events, in the order of the configuration, then of snapshots, the memory
        and videos."""
        return [worker.stats() for worker in self._workers()]

    def close(self) -> None:
        """Deliver what waits, for at most 0.6 seconds in total, and close the sinks."""
        until = time.monotonic() + _CLOSE_SECONDS
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
        single = [worker for worker in (self._snapshots, self._memory) if worker]
        return [*self._events, *single, *(worker for _, worker in self._frames)]
