"""The memory of a site: it records what the event detectors see, and follows what answers prove."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from ...bundle.fingerprints import fingerprints
from ...tagger import Tagger
from ..events import Event, EventDetector
from ..sinks import SinkStats, SinkWorker
from ..stream import Observation
from .proofs import Proofs, Use
from .recorder import Recorded, Recorder
from .sink import MemoryConfig

_log = logging.getLogger(__name__)


class Memory:
    """Records places, each with its recorder; a sink of its own writes to the store, so that no camera waits for it.

    Args:
        config: the folder and its limits.
        tagger: names the features of a result, and has its label bank.

    Raises:
        OutputError, OptionError: as for :meth:`MemoryConfig.open`.
    """

    def __init__(self, config: MemoryConfig, tagger: Tagger) -> None:
        self.config = config
        self._tagger = tagger
        self._worker: SinkWorker[Recorded] = config.open()
        self._recorders: dict[EventDetector, Recorder] = {}
        self._proofs: Proofs | None = None

    def saw(
        self, detector: EventDetector, events: Sequence[Event], seen: Observation, wall: float
    ) -> None:
        """Record a frame that a detector has just processed, with the events that it returned."""
        result = seen.regions.get(detector.region)
        if result is not None:
            self._recorder(detector).saw(wall, result, seen.frame, events)

    def closed(
        self, detector: EventDetector, events: Sequence[Event], monotonic: float, reason: str
    ) -> None:
        """Record that a detector was closed: when and why, with the events that it returned."""
        self._recorder(detector).closed(monotonic, reason, events)

    def keep(self, camera: str, kind: str, seen: Observation, wall: float) -> None:
        """Keep a frame of a camera in addition to those that are chosen."""
        for detector, recorder in self._recorders.items():
            if detector.camera == camera:
                recorder.keep(kind, wall, seen.result, seen.frame)
                return

    def forget(self, detectors: Iterable[EventDetector]) -> None:
        """Record nothing more of detectors that were closed."""
        for detector in detectors:
            self._recorders.pop(detector, None)

    def follow(self, use: Use) -> None:
        """Call a function with what answers prove of the required precisions, now and when it may have changed; or
        another one instead from now on."""
        if self._proofs:
            self._proofs.use = use
        else:
            self._proofs = Proofs(self.config.folder, self.config.precision, use)

    def answered(self) -> None:
        """An answer came or went: what it proves is used within a second, without a new frame."""
        if self._proofs:
            self._proofs.answered()

    def stats(self) -> SinkStats:
        """The statistics of the sink."""
        return self._worker.stats()

    def stop(self) -> None:
        """Begin to end: nothing more is recorded."""
        if self._proofs:
            self._proofs.close()
        self._worker.stop()

    def close(self, timeout: float) -> None:
        """Write what waits, for at most so many seconds, and close the store."""
        self.stop()
        stats = self._worker.close(timeout)
        if stats.lost:
            _log.warning("%s: %d lost", stats.name, stats.lost)

    def _recorder(self, detector: EventDetector) -> Recorder:
        recorder = self._recorders.get(detector)
        if recorder is None:
            recorder = self._recorders[detector] = Recorder(
                detector,
                self._worker.submit,
                self.config.floor,
                self.config.samples_per_hour,
                self._features_of,
                self._vectors_of,
            )
        return recorder

    def _features_of(self, plan: str) -> str | None:
        info = self._tagger.info  # of another plan, if it has just been replaced
        return info["features"] if info["sha256"] == plan else None

    def _vectors_of(self, bank: str) -> tuple[str, ...] | None:
        in_use = self._tagger.label_bank  # another one, if it has just been replaced
        return fingerprints(in_use) if self._tagger.info["bank"] == bank else None
