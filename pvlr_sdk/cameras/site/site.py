"""A complete installation: cameras in, events out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import numpy as np

from ...bundle.label_bank import LabelBank
from ...errors import BundleError, PvlrError
from ...tagger import Tagger
from ..events import Event
from ..events.thresholds import Minimum, Thresholds
from ..memory.memory import Memory
from ..memory.precision import Statement, minimums
from ..sinks.worker import Commands, SiteStatus
from ..stream import CameraChange, Observation, Stream
from . import factory
from .changes import Changes
from .config import SiteConfig
from .health import CameraHealth
from .outputs import CLOSE_SECONDS, SinkSet

_log = logging.getLogger(__name__)

_HUNG = 30.0
"""Seconds without progress after which the site is unhealthy, and without a result after which a camera is."""


class Site:
    """Runs what a :class:`SiteConfig` describes. Every method except :meth:`run` may be called from any thread, but
    :meth:`use`, :meth:`set_labels` and :meth:`exchange` from one at a time: while :class:`Control` has the site,
    use that.

    Args:
        config: the cameras, the plan, how scores become events, and their sinks.
        tagger: used instead of loading ``config.plan``; it is not closed at the end.
        changes: what was changed while it ran before.

    Attributes:
        config: its configuration now, with the changes but for their thresholds; read-only. The addresses in it may
            contain credentials.
        changes: what was changed.
        tagger: shared by all cameras.

    Raises:
        BundleError, OptionError: the plan or an option is invalid. Settings of unknown labels are ignored, with a
            warning.
        OutputError, MissingPartError: a sink cannot be opened.
    """

    def __init__(
        self, config: SiteConfig, *, tagger: Tagger | None = None, changes: Changes | None = None
    ) -> None:
        self._owned = tagger is None
        self._written = config
        self.changes = changes or Changes()
        self.tagger = tagger or factory.make_tagger(self.changes.applied(config))
        self.config = config = factory.with_changes(config, self.changes, self.tagger.labels)
        self._health = {name: CameraHealth(name) for name in config.cameras if config.health}
        self._detectors = factory.make_detectors(config, self.tagger, self.changes.thresholds)
        self._clocks = factory.make_clocks(config)
        cameras = factory.make_cameras(config)

        def recover(error: BundleError) -> bool:
            return self._recover(error)

        self._stream = Stream(self.tagger, cameras, recover=recover, **dict(config.stream))
        self._recover: Callable[[BundleError], bool] = lambda error: False
        self._states = dict.fromkeys(config.cameras, "starting")
        self._latest: dict[str, Observation] = {}
        # The thread of the memory changes thresholds too.
        self._changing = threading.RLock()
        # Required precisions, and the thresholds that they need.
        self._proven: Mapping[str, Statement] = {}
        self._minimums: dict[str, Minimum] = {}
        self.memory = Memory(config.memory, self.tagger) if config.memory else None
        """What it remembers of its events; None: nothing."""
        try:
            self._sinks = SinkSet(config, self._status())
        except BaseException:
            if self.memory:
                self.memory.close(0.0)
            raise
        self._observers: list[Callable[[Observation], None]] = []
        self._began = time.monotonic()
        self._reason = "stopped"
        self._seen = dict.fromkeys(config.cameras, self._began)
        if self.memory:
            self.memory.follow(self.require)

    @property
    def cameras(self) -> dict[str, str]:
        """The state of each camera: ``starting``, ``live``, ``paused``, ``lost`` or ``ended``."""
        return dict(self._states)

    def run(self) -> None:
        """Tag until :meth:`stop` is called or every camera has ended; then close open events and all sinks."""
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
            # Concurrently: cameras that hang and sinks that hang may each take most of a second.
            closing = threading.Thread(target=self._stream.close, name="pvlr-closing")
            closing.start()
            for name in self.config.cameras:
                self._close(name, self._reason)
            self._close_outputs()
            closing.join()
            if self._owned:
                self.tagger.close()

    def stop(self, reason: str = "stopped") -> None:
        """Make :meth:`run` return within a second; open events end with this reason."""
        self._reason = reason
        self._stream.stop()

    def between_frames(self) -> AbstractContextManager[None]:
        """See :meth:`Stream.between_frames`: for other work with the site's tagger."""
        return self._stream.between_frames()

    def latest(self, camera: str) -> Observation | None:
        """The newest result of a camera with its frame; None before the first, and while the camera is paused or lost.
        A camera that has ended keeps its last one."""
        return self._latest.get(camera)

    def levels(self, camera: str) -> dict[str, tuple[float, float]]:
        """The labels that a camera can report, each with its smoothed score, from which its events are made, up to the
        newest frame (0 before the first), and the threshold of that score; of several regions, where it is highest."""
        return factory.highest_levels(
            factory.watched(self.config, {camera: self._detectors[camera]})
        )

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds in use, and where they come from."""
        return self._thresholds(self.config, self.changes)

    @property
    def tile_thresholds(self) -> dict[str, float]:
        """By label, the plan's thresholds for the tiles that the cameras have now: the highest, where they differ."""
        highest: dict[str, float] = {}
        for seen in list(self._latest.values()):
            of_camera = zip(seen.result.labels, seen.result.thresholds.tolist(), strict=True)
            for label, threshold in of_camera:
                highest[label] = max(threshold, highest.get(label, 0.0))
        return highest

    def use(self, changes: Changes) -> None:
        """Use other changes of the site file's settings from the next frame on; snapshots stay as they were.

        Events of labels and regions that stay continue.

        Raises:
            UnknownLabelError, OptionError: a label, a threshold or a region is invalid; nothing is changed then.
        """
        with self._changing:
            config = factory.with_changes(self._written, changes, self.tagger.labels, quiet=True)
            other = {
                name: camera
                for name, camera in config.cameras.items()
                if camera != self.config.cameras[name]
            }
            cameras = [
                factory.make_camera(name, camera, config.timezone) for name, camera in other.items()
            ]
            new = factory.make_detectors(config, self.tagger, changes.thresholds)
            # Those of removed regions end their events with the next frame.
            detectors = {
                name: list({detector.region: detector for detector in [*new[name], *now]}.values())
                if name in other
                else now
                for name, now in self._detectors.items()
            }
            rules = factory.make_rules(config, detectors, self._thresholds(config, changes))
            for camera in cameras:
                self._stream.replace(camera)
            self.config = config
            self.changes = changes
            self._detectors = detectors
            for detector, rule in rules:
                detector.use(rule)
            self._sinks.announce(self._status())

    def obey(self, commands: Commands) -> None:
        """Let sinks whose settings permit it change the site."""
        self._sinks.obey(commands)

    def set_labels(self, bank: LabelBank, changes: Changes | None = None) -> None:
        """Use another label bank, between two frames; only for an open plan, see :meth:`Tagger.set_labels`.

        Events of remaining labels continue, events of removed labels end; settings that name these are ignored.
        ``changes``: those from then on.

        Raises:
            BackendError, LabelBankError: the plan is closed, or cannot use the bank.
            OptionError: a lower threshold of the configuration is above the new upper one. In each case nothing is
                changed.
        """
        with self.between_frames():
            before = self.tagger.label_bank
            self.tagger.set_labels(bank)
            try:
                self.use(changes or self.changes)
            except PvlrError:
                self.tagger.set_labels(before)
                raise

    def exchange(self, other: Tagger) -> None:
        """Exchange the plan with that of another tagger with the same labels, between two frames; events continue.

        Raises:
            OptionError: the other plan's thresholds do not fit the configured ones; nothing is changed then.
        """
        factory.make_detectors(self.config, other, self.changes.thresholds)
        self.tagger.exchange(other)
        self.use(self.changes)

    def events(self, since: float | None = None, limit: int = 100) -> list[Event]:
        """The newest events, oldest first: at most ``limit`` of the last thousand, only those with a time after
        ``since``, in seconds since the epoch."""
        return self._sinks.events(since, limit)

    def events_after(self, count: int) -> tuple[int, list[Event]]:
        """The number of events so far, and those after the first ``count``: at most the last thousand."""
        return self._sinks.events_after(count)

    def open_events(self) -> list[Event]:
        """The ``on`` events that have not ended yet, oldest first."""
        return self._sinks.open_events()

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback(event)`` for each event from now on, in its own thread; returns a function that ends it.

        It has a bounded queue: a callback that is too slow misses the oldest events and never stops a camera.
        """
        return self._sinks.subscribe(callback)

    def on_observation(self, callback: Callable[[Observation], None]) -> None:
        """Call ``callback(observation)`` for each tagged frame, after its events, in the thread of :meth:`run`.

        Cameras wait for it: it must return within microseconds and raise nothing. For anything else use
        :meth:`latest` or :meth:`subscribe`.
        """
        self._observers.append(callback)

    def on_failure(self, callback: Callable[[BundleError], bool]) -> None:
        """Call ``callback(error)`` when the plan fails; True: another plan will replace it, so :meth:`run` goes on."""
        self._recover = callback

    def healthy(self) -> bool:
        """Whether tagging goes on, or has ended: a camera, whatever it does, makes no site unhealthy."""
        ended = all(state == "ended" for state in self._states.values())
        return ended or self._stream.turned > time.monotonic() - _HUNG

    def unhealthy_cameras(self) -> dict[str, str]:
        """The cameras that are ``lost``, or ``live`` without a result in the last 30 seconds, with their state."""
        late = {name for name, seen in self._seen.items() if seen < time.monotonic() - _HUNG}
        return {
            name: at
            for name, at in self.cameras.items()
            if at == "lost" or (at == "live" and name in late)
        }

    def stats(self) -> dict[str, Any]:
        """``{"uptime", "events", "cameras", "sinks", "precision", "drift"}``: seconds since the start, the number of
        events, each camera's :class:`CameraStats` and each sink's :class:`SinkStats` as plain values, what is proven,
        and by label whether that may not hold any more."""
        memory = [self.memory.stats()] if self.memory else []
        return {
            "uptime": time.monotonic() - self._began,
            "events": self._sinks.count,
            "cameras": {name: asdict(stats) for name, stats in self._stream.stats().items()},
            "sinks": [asdict(stats) for stats in (*self._sinks.stats(), *memory)],
            "precision": list(map(str, self._proven.values())),
            "drift": {label: proof.drift is not None for label, proof in self._proven.items()},
        }

    def _observe(self, seen: Observation) -> None:
        name = seen.camera
        frame = seen.frame
        before = self._latest.get(name)
        self._seen[name], self._latest[name] = time.monotonic(), seen
        if before is None or not np.array_equal(before.result.thresholds, seen.result.thresholds):
            self._sinks.announce(self._status())
        monotonic, wall = self._clocks[name].read(frame)
        events: list[Event] = []
        for detector in self._detectors[name]:
            if result := seen.regions.get(detector.region):
                new = detector.update(
                    monotonic, wall, result.scores, result.labels, result.thresholds
                )
            else:
                new = detector.close(monotonic, "not watched")
            if self.memory and result:
                self.memory.saw(detector, new, seen, wall)
            elif self.memory:
                self.memory.closed(detector, new, monotonic, "not watched")
            events += new
        if len(self._detectors[name]) > len(seen.regions):
            self._drop_removed(name)
        self._publish([self._sinks.with_snapshot(event, seen) for event in events])
        if health := self._health.get(name):
            for event, pictures in health.see(seen, monotonic, wall):
                if self.memory and event.state == "on":
                    self.memory.keep(name, "health", pictures, wall)
                self._publish([self._sinks.with_snapshot(event, pictures)])
        for callback in self._observers:
            callback(seen)
        self._sinks.submit_frame(seen)

    def _change(self, change: CameraChange) -> None:
        name = change.camera
        self._states[name] = change.state
        self._sinks.announce(self._status())
        self._seen[name] = time.monotonic()
        if change.state in ("paused", "lost"):
            self._latest.pop(name, None)
        if change.state != "live":
            lost = f"camera {change.state}: {change.reason}".removesuffix(": ")
            self._close(name, "not watched" if change.state == "paused" else lost)

    def _thresholds(self, config: SiteConfig, changes: Changes) -> Thresholds:
        return factory.thresholds_of(config.events, self.tagger, changes.thresholds, self._minimums)

    def _status(self) -> SiteStatus:
        return factory.site_status(
            self.config, self._detectors, self._states, self.thresholds, self.tile_thresholds
        )

    def require(self, proven: Mapping[str, Statement]) -> None:
        """Use the thresholds at which a required precision is proven, where the configured ones are lower."""
        with self._changing:
            proven_before = self._proven
            before = self._status().thresholds
            self._proven = proven
            self._minimums = minimums(proven)
            self.use(self.changes)
        for label, now in self._status().thresholds.items():
            proof = proven.get(label)
            last = proven_before.get(label)
            if proof and (not last or before[label] != now or (proof.drift and not last.drift)):
                _log.warning("%s. Its threshold is %.3f (before: %.3f)", proof, now, before[label])

    def _drop_removed(self, name: str) -> None:
        # Under the lock, or a change brings a region back meanwhile.
        with self._changing:
            here = factory.watched(self.config, {name: self._detectors[name]})
            closed = [
                detector
                for detector in self._detectors[name]
                if detector not in here and detector.tracks.last is None
            ]
            self._detectors[name] = [
                detector for detector in self._detectors[name] if detector not in closed
            ]
            if self.memory:
                self.memory.forget(closed)

    def _close(self, name: str, reason: str) -> None:
        now = self._clocks[name].now()
        for detector in self._detectors[name]:
            events = detector.close(now, reason)
            if self.memory:
                self.memory.closed(detector, events, now, reason)
            self._publish(events)
        self._drop_removed(name)
        self._publish(self._health[name].close(now, reason) if name in self._health else [])

    def _close_outputs(self) -> None:
        """Deliver and write what waits, for at most the time of the sinks in total."""
        until = time.monotonic() + CLOSE_SECONDS
        if self.memory:
            self.memory.stop()
        self._sinks.close()
        if self.memory:
            self.memory.close(max(0.0, until - time.monotonic()))

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            self._sinks.submit(event)
        if events and self._sinks.dead:
            self.stop("nobody reads the events")
