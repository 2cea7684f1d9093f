"""A whole installation: cameras in, events out."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..events import Event
from ..sources import parse_uri
from ..sources.uri import PathUri
from ..tagger import Tagger
from .clock import Clock
from .config import SiteConfig
from .outlets import Outlets
from .parts import make_cameras, make_detectors, make_tagger

if TYPE_CHECKING:
    from ..stream import CameraChange, Observation, Stream

_REMEMBERED = 1000
"""Notices that :meth:`Site.events` can look back on."""
_HUNG = 30.0
"""Seconds without a result from a live camera after which something hangs."""


class Site:
    """Runs what a :class:`SiteConfig` describes. Every method but :meth:`run` may be called from any thread.

    Args:
        config: the cameras, the plan, how scores become events, and where these go.
        tagger: used instead of loading ``config.plan``; it is not closed at the end.

    Raises:
        BundleError, OptionError, UnknownLabelError: the plan or a label can't be.
        OutputError, MissingPartError: a sink can't be opened.
    """

    def __init__(self, config: SiteConfig, *, tagger: Tagger | None = None) -> None:
        from ..stream import Stream

        self._config = config
        self._owned = tagger is None
        self._tagger = tagger or make_tagger(config)
        self._detectors = make_detectors(config, self._tagger)
        self._clocks = {
            name: Clock(media=config.stream.every_frame and isinstance(parse_uri(camera.uri), PathUri))
            for name, camera in config.cameras.items()
        }
        self._stream: Stream = Stream(
            self._tagger,
            make_cameras(config),
            staleness=config.stream.staleness,
            window=config.stream.window,
            every_frame=config.stream.every_frame,
        )
        self._outlets = Outlets(config, {name: detector.labels for name, detector in self._detectors.items()})
        self._states = dict.fromkeys(config.cameras, "starting")
        self._latest: dict[str, Observation] = {}
        self._remembered: deque[Event] = deque(maxlen=_REMEMBERED)
        self._open: dict[str, Event] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._reason = "stopped"
        self._began = time.monotonic()
        self._seen = dict.fromkeys(config.cameras, self._began)

    @property
    def config(self) -> SiteConfig:
        """What it was made from. The addresses in it may hold credentials."""
        return self._config

    @property
    def tagger(self) -> Tagger:
        """The tagger that all cameras share."""
        return self._tagger

    @property
    def cameras(self) -> dict[str, str]:
        """The state of each camera: ``starting``, ``live``, ``lost`` or ``ended``."""
        return dict(self._states)

    def run(self) -> None:
        """Tag until :meth:`stop` is called or every camera has ended; then close open events and all sinks."""
        from ..stream import Observation

        try:
            for item in self._stream:
                if isinstance(item, Observation):
                    self._observe(item)
                else:
                    self._change(item)
        except Exception as error:
            self._reason = f"failed: {type(error).__name__}"
            raise
        finally:
            # At the same time: cameras that hang and sinks that hang may each take most of a second.
            closing = threading.Thread(target=self._stream.close, name="pvlr-closing")
            closing.start()
            for name in self._detectors:
                self._close(name, self._reason)
            self._outlets.close()
            closing.join()
            if self._owned:
                self._tagger.close()

    def stop(self, reason: str = "stopped") -> None:
        """Let :meth:`run` return within a second; open events end with this reason."""
        self._reason = reason
        self._stream.stop()

    def latest(self, camera: str) -> Observation | None:
        """The newest result of a camera with its frame; None before the first, and while the camera is lost."""
        return self._latest.get(camera)

    def watched(self, camera: str) -> dict[str, float]:
        """The labels that a camera can report, each with the smoothed score from which on it is there."""
        return self._detectors[camera].thresholds

    def events(self, since: float | None = None, limit: int = 100) -> list[Event]:
        """The newest notices, oldest first, at most ``limit`` of them and of the last thousand.

        ``since``, in seconds since the epoch, leaves out those up to that time.
        """
        with self._lock:
            found = [event for event in self._remembered if since is None or event.time > since]
        return found[-limit:] if limit > 0 else []

    def open_events(self) -> list[Event]:
        """The ``on`` notices of the events that have not ended yet, oldest first."""
        with self._lock:
            return list(self._open.values())

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback(event)`` for each notice from now on, in a thread of its own; returns what ends it.

        It has a bounded queue: a callback that is too slow misses the oldest notices and never stops a camera.
        """
        return self._outlets.subscribe(callback)

    def healthy(self) -> bool:
        """Whether every camera that is live has given a result in the last 30 seconds: the sign of life."""
        oldest = time.monotonic() - _HUNG
        return all(self._seen[name] > oldest for name, state in self._states.items() if state == "live")

    def stats(self) -> dict[str, Any]:
        """``{"uptime", "events", "cameras", "sinks"}``: seconds since the start, how many notices there were, each
        camera's :class:`CameraStats` and each sink's :class:`SinkStats`, as plain values."""
        return {
            "uptime": time.monotonic() - self._began,
            "events": self._count,
            "cameras": {name: asdict(stats) for name, stats in self._stream.stats().items()},
            "sinks": [stats.to_dict() for stats in self._outlets.stats()],
        }

    def _observe(self, seen: Observation) -> None:
        name, frame = seen.camera, seen.frame
        self._seen[name] = time.monotonic()
        self._latest[name] = seen
        events = self._detectors[name].update(*self._clocks[name].read(frame), seen.result.scores)
        self._publish([self._outlets.with_snapshot(event, seen) for event in events])
        self._outlets.show(seen)

    def _change(self, change: CameraChange) -> None:
        name = change.camera
        self._states[name] = change.state
        self._seen[name] = time.monotonic()
        if change.state != "live":
            self._latest.pop(name, None)
            reason = f"camera {change.state}"
            self._close(name, f"{reason}: {change.reason}" if change.reason else reason)

    def _close(self, name: str, reason: str) -> None:
        self._publish(self._detectors[name].close(self._clocks[name].now(), reason))

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            with self._lock:
                self._count += 1
                self._remembered.append(event)
                if event.state == "on":
                    self._open[event.id] = event
                else:
                    self._open.pop(event.id, None)
            self._outlets.submit(event)
        if events and self._outlets.dead:
            self.stop("nobody reads the events")
