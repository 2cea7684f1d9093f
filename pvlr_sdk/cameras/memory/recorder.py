"""Records what an event detector sees. It runs in the loop that tags: microseconds per frame, but for pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...result import TagResult
from ..events import Event, EventDetector
from ..events.tracks import Tracks
from ..sources import CapturedFrame
from .moments import Moment, Peaks, Samples, heat_of, small
from .recording import STATE, Chunk, Context, Floats, Place, encode

Recorded: TypeAlias = "Chunk | Moment | tuple[Event, Context]"

SECONDS = 60.0
FRAMES = 2000
"""The most of a chunk: what a killed process loses of the scores."""
TAIL = 5.0
"""Seconds for which a label's scores are kept after they matter: longer gaps in replay are exact up to here."""
COARSE = 5.0
"""Seconds between two frames with the coarse scores of all labels."""


class Recorder:
    """Records one place.

    Args:
        detector: its detector.
        submit: gets what is to be stored, in order; must not wait.
        floor: scores below it, and below a label's lower threshold, are kept coarsely only.
        samples_per_hour: of each kind.
        features_of: the name of the features of a plan, by its SHA-256; None: unknown.
        vectors_of: the fingerprints of a label bank, by its SHA-256; None: unknown.
    """

    def __init__(
        self,
        detector: EventDetector,
        submit: Callable[[Recorded], None],
        floor: float = 0.4,
        samples_per_hour: int = 4,
        features_of: Callable[[str], str | None] = lambda plan: None,
        vectors_of: Callable[[str], tuple[str, ...] | None] = lambda bank: None,
    ) -> None:
        self._detector = detector
        self._submit = submit
        self._least = floor
        self._features_of = features_of
        self._vectors_of = vectors_of
        self._place = Place(detector.camera, detector.region)
        self._run = time.time_ns()
        self._number = 0
        self._context: Any = None
        self._made_of: tuple[Any, ...] = ()
        self._peaks = Peaks()
        self._samples = Samples(3600 / samples_per_hour) if samples_per_hour else None
        self._draft = _Draft()
        self._forget()

    def _forget(self) -> None:
        """There is no frame before the next one."""
        self._names: tuple[str, ...] = ()
        self._before: Floats = np.zeros(0)
        self._until: Floats = np.zeros(0)
        self._last: float | None = None
        self._coarse_at = -np.inf

    def saw(
        self, wall: float, result: TagResult, frame: CapturedFrame, events: Sequence[Event]
    ) -> None:
        """After the detector has processed a frame, with its wall time and the events that it returned."""
        tracks = self._detector.tracks
        if tracks.last is None or result.labels != self._detector.used.names:
            return  # the detector ignored the frame
        now = tracks.last
        self._use_context(result)
        if tracks.names != self._names:
            self._use_names(tracks.names)
        on = self._to_keep(result.scores, tracks, now)
        coarse = now >= self._coarse_at
        if coarse or on.any():
            self._draft.add(wall, result.scores, on, self._before, self._last, tracks, coarse)

        take = partial(self._moment, wall, result, frame)
        # An event that ended in this frame has its peak before it, one that begins may have it here.
        has_ended = self._submit_events(events, "off")
        self._peaks.see(self._detector, take, partial(heat_of, result, frame))
        self._submit_events(events, "on")
        if coarse:
            self._coarse_at = now + COARSE
            if self._samples:
                self._submit_all(self._samples.see(now, self._detector, result, take))
        self._before = tracks.average.copy()
        self._last = now
        if has_ended or self._draft.is_full(now):
            self._flush()

    def _use_names(self, names: tuple[str, ...]) -> None:
        """Record other labels from now on; those that stay keep their averages."""
        kept = dict(zip(self._names, zip(self._before, self._until, strict=True), strict=True))
        pairs = [kept.get(name, (0.0, -np.inf)) for name in names]
        self._names = names
        self._before, self._until = np.array(pairs).T.copy()

    def _to_keep(
        self, scores: NDArray[np.float32], tracks: Tracks, now: float
    ) -> NDArray[np.bool_]:
        """(C,): the labels whose scores are kept exactly: they matter in this frame, or did in the last seconds."""
        live = (
            (scores >= self._floors) | (tracks.average >= self._floors) | tracks.up | tracks.active
        )
        self._until[live] = now + TAIL
        # Also the first frame after the time is over: after a long gap, events end in it.
        return live | (self._until > (now if self._last is None else self._last))

    def keep(self, kind: str, wall: float, result: TagResult, frame: CapturedFrame) -> None:
        """Keep a frame in addition to those that are chosen; none is before the first one, and of other labels."""
        if self._context is not None and result.labels == self._context.names:
            self._submit(replace(self._moment(wall, result, frame), kind=kind))

    def _moment(self, wall: float, result: TagResult, frame: CapturedFrame) -> Moment:
        space = self._features_of(result.plan) if result.features is not None else None
        features = None if space is None else result.features
        return Moment(
            self._place, self._context, wall, result.logits, features, space or "", small(frame)
        )

    def closed(self, monotonic: float, reason: str, events: Sequence[Event]) -> None:
        """After the detector was closed, with the events that it returned."""
        if self._last is not None:
            self._submit_events(events, "off")
            if self._samples:
                self._submit_all(self._samples.close())
            # a label that was up without an event has no picture for a later one
            self._peaks = Peaks()
            self._flush((monotonic, reason))
            self._forget()

    def _submit_all(self, moments: Iterable[Moment]) -> None:
        for moment in moments:
            self._submit(moment)

    def _submit_events(self, events: Sequence[Event], state: Literal["on", "off"]) -> bool:
        """Submit the events that begin or end, each with its peak. Returns whether there are any."""
        chosen = [event for event in events if event.state == state]
        for event in chosen:
            self._submit((event, self._context))
            if moment := self._peaks.of(event.label, event.id, state == "off"):
                self._submit(moment)
        return bool(chosen)

    def _use_context(self, result: TagResult) -> None:
        """Record with the context of a frame from now on; a chunk has one."""
        rules = self._detector.used
        made_of = id(rules), result.plan, result.bank, result.thresholds.tobytes()
        if self._context is None or self._made_of != made_of:
            self._flush()
            self._made_of = made_of
            self._rules = rules
            higher = (
                tuple(result.thresholds.tolist())
                if (result.thresholds > rules.deployed).any()
                else None
            )
            self._context = Context(
                rules.names,
                rules.settings,
                tuple(rules.deployed.tolist()),
                higher,
                result.plan,
                result.bank,
                self._least,
                self._vectors_of(result.bank),
            )
            self._floors = self._context.floors(rules.lower)

    def _flush(self, closed: tuple[float, str] | None = None) -> None:
        draft = self._draft
        self._draft = _Draft()
        if self._context is not None and (draft.times or closed):
            arrays = draft.arrays(len(self._context.names))
            self._submit(Chunk(self._place, self._context, self._run, self._number, closed, arrays))
            self._number += 1


class _Draft:
    """The frames of a chunk that grows."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float, float]] = []
        self._on: list[NDArray[np.bool_]] = []
        self._scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
        self._before: list[Floats] = [np.zeros(0)]
        self._coarse: list[tuple[int, NDArray[np.float32]]] = []
        self._state: dict[str, NDArray[Any]] = {}

    def add(
        self,
        wall: float,
        scores: NDArray[np.float32],
        on: NDArray[np.bool_],
        before: Floats,
        last: float | None,
        tracks: Tracks,
        coarse: bool,
    ) -> None:
        """A frame after which the state is ``tracks``; ``last``: when the frame before was, recorded or not."""
        if not self.times:
            self._state = {name: getattr(tracks, name).copy() for name in STATE}
            self._state["average"][~on] = 0  # it does not matter, and would not compress
        follows = self.times and self.times[-1][0] == last
        self._before.append(before[on & ~self._on[-1] if follows else on])
        if coarse:
            self._coarse.append((len(self.times), scores))
        self.times.append((tracks.last or 0.0, wall, last or 0.0))
        self._scores.append(scores[on])
        self._on.append(on)

    def is_full(self, now: float) -> bool:
        """Whether a killed process would lose too much of it."""
        if not self.times:
            return False
        return len(self.times) >= FRAMES or now - self.times[0][0] >= SECONDS

    def arrays(self, count: int) -> dict[str, NDArray[Any]]:
        """The arrays of the chunk, with C labels."""
        monotonic, wall, last = np.array(self.times).reshape(-1, 3).T
        return {
            "monotonic": monotonic, "wall": wall, "last": last, "on": np.array(self._on, bool).reshape(-1, count),
            "scores": np.concatenate(self._scores), "before": np.concatenate(self._before),
            "coarse_at": np.array([number for number, _ in self._coarse], np.int32),
            "coarse": encode(np.array([scores for _, scores in self._coarse], np.float32).reshape(-1, count)),
            **self._state,
        }  # fmt: skip
