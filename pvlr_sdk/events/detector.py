"""Detects events in flickering scores by smoothing, hysteresis and a minimum duration."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import errors
from ..bundle.labels import find_label
from .event import Event

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EventSettings:
    """How scores become events; times in seconds, scores and thresholds from 0 to 1.

    Attributes:
        smoothing: time constant of the moving average of each score; 0: no smoothing.
        margin: hysteresis: an event ends when the average falls this far below the threshold, but at most by half of
            the threshold, so that events with a low threshold end too.
        min_duration: an event begins once the average has been at or above the threshold for this long.
        min_gap: an event continues through gaps shorter than this.
        on: thresholds of some labels, instead of those given to the detector (the deployed ones).
        off: lower thresholds of some labels, instead of the upper one less ``margin``.
        labels: only these labels; None: all.
        deny: exclude these labels.

    Raises:
        OptionError: a number is outside its range.
    """

    smoothing: float = 0.5
    margin: float = 0.1
    min_duration: float = 0.5
    min_gap: float = 0.0
    on: Mapping[str, float] = field(default_factory=dict)
    off: Mapping[str, float] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    deny: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("smoothing", "min_duration", "min_gap"):
            _check_range(name, getattr(self, name), float("inf"), "seconds, 0 or more")
        _check_range("margin", self.margin, 1, "a number from 0 to 1")
        for name in ("on", "off"):
            for label, value in getattr(self, name).items():
                _check_range(f"{name} threshold of {label!r}", value, 1, "a number from 0 to 1")


class EventDetector:
    """Turns the scores of one camera's frames, one call per frame, into events.

    The moving average is weighted by time, not by frame: a new score has the weight 1 - exp(-dt / smoothing), where dt
    is the time since the previous frame (Eckner, "Algorithms for unevenly spaced time series", 2012, EMA with
    next-point interpolation). So cameras with 5 and with 30 frames per second give the same events, to within a frame,
    and after a long gap only new scores count. Durations are measured by the monotonic clock.

    Args:
        camera: the camera's name, for the events.
        labels: the C label names, in the order of the scores.
        thresholds: (C,), the score at or above which each label is present.
        settings: see :class:`EventSettings`.

    Raises:
        UnknownLabelError: the settings name a label that is not in ``labels``.
        OptionError: ``thresholds`` is not (C,), or a label's lower threshold is above its upper one.
    """

    def __init__(
        self, camera: str, labels: Sequence[str], thresholds: ArrayLike, settings: EventSettings | None = None
    ) -> None:
        deployed = np.array(thresholds, np.float64)
        if deployed.shape != (len(labels),):
            raise errors.OptionError(
                "thresholds",
                expected=f"({len(labels)},)",
                got=str(deployed.shape),
                hint="Pass one threshold per label.",
            )
        self._camera = camera
        self._all = list(labels)
        self._deployed = deployed
        self._tracks = _Tracks(len(labels))
        self.configure(settings or EventSettings())

    def configure(self, settings: EventSettings, thresholds: ArrayLike | None = None) -> None:
        """Use other settings from the next frame on; events of labels that they exclude end then. Safe in any thread.

        Args:
            settings: they replace the current ones.
            thresholds: (C,), as for the class, of another plan with the same labels; None: no change.

        Raises:
            UnknownLabelError, OptionError: as for the class; nothing is changed then.
        """
        index = {name: position for position, name in enumerate(self._all)}
        deployed = self._deployed if thresholds is None else np.array(thresholds, np.float64)
        on = deployed.copy()
        for label, value in settings.on.items():
            on[find_label(label, index)] = value
        off = np.maximum(on - settings.margin, on / 2)
        for label, value in settings.off.items():
            position = find_label(label, index)
            off[position] = value
            if value > on[position]:
                raise errors.OptionError(
                    f"off threshold of {label!r}",
                    expected=f"at most its on threshold, {on[position]:g}",
                    got=f"{value:g}",
                    hint="Lower it, or raise the label's on threshold.",
                )
        allowed = self._all if settings.labels is None else settings.labels
        watched = np.zeros(len(self._all), np.bool_)
        watched[[find_label(label, index) for label in allowed]] = True
        watched[[find_label(label, index) for label in settings.deny]] = False
        self._deployed = deployed
        self._rules = _Rules(settings, on, off, watched)  # one assignment: another thread may be in update()

    @property
    def labels(self) -> list[str]:
        """The labels that can be reported, in the order of the scores."""
        return [self._all[row] for row in np.flatnonzero(self._rules.watched).tolist()]

    @property
    def thresholds(self) -> dict[str, float]:
        """These labels, each with the smoothed score at or above which it is present."""
        rules = self._rules
        rows = np.flatnonzero(rules.watched).tolist()
        return {self._all[row]: float(rules.upper[row]) for row in rows}

    @property
    def scores(self) -> Floats:
        """(C,), the smoothed scores after the newest frame, a copy."""
        return self._tracks.average.copy()

    def update(self, monotonic: float, wall: float, scores: ArrayLike) -> list[Event]:
        """Process the scores of one frame and return its events.

        Args:
            monotonic: when the frame was captured, as ``time.monotonic()`` in seconds. A frame older than the previous
                one counts as captured at the same time.
            wall: the same moment in seconds since the epoch.
            scores: (C,), finite.

        Raises:
            OptionError: the scores have another shape or are not finite.
        """
        new, tracks, rules = self._checked(scores), self._tracks, self._rules
        now = monotonic if tracks.last is None else max(monotonic, tracks.last)
        constant = rules.settings.smoothing
        weight = 1.0 if tracks.last is None or constant == 0 else -np.expm1((tracks.last - now) / constant)
        tracks.average += weight * (new - tracks.average)
        tracks.last = now

        up = (tracks.average >= rules.upper) | (tracks.up & (tracks.average >= rules.lower))
        up &= rules.watched
        tracks.since[up != tracks.up] = now
        starting = up & ~tracks.up & ~tracks.active
        tracks.start[starting], tracks.offset[starting], tracks.peak[starting] = now, wall - now, -np.inf
        higher = (up | tracks.active) & (tracks.average > tracks.peak)
        tracks.peak[higher], tracks.peak_at[higher] = tracks.average[higher], now
        tracks.up = up

        held = now - tracks.since
        begins = up & ~tracks.active & (held >= rules.settings.min_duration)
        ends = ~up & tracks.active & ((held >= rules.settings.min_gap) | ~rules.watched)
        return [self._begin(row, now) for row in np.flatnonzero(begins).tolist()] + [
            self._end(row, now, tracks.since[row], "score" if rules.watched[row] else "label excluded")
            for row in np.flatnonzero(ends).tolist()
        ]

    def close(self, monotonic: float, reason: str) -> list[Event]:
        """End all events because no frames will follow; the next frame then counts as the first.

        They end with the last frame in which they were present. ``monotonic`` is the time to report.
        """
        tracks, closed = self._tracks, []
        if tracks.last is not None:
            for row in np.flatnonzero(tracks.active).tolist():
                end = tracks.last if tracks.up[row] else tracks.since[row]
                closed.append(self._end(row, max(monotonic, tracks.last), end, reason))
        self._tracks = _Tracks(len(self._all))
        return closed

    def _checked(self, scores: ArrayLike) -> Floats:
        new = np.asarray(scores, np.float64)
        if new.shape != self._deployed.shape or not np.isfinite(new).all():
            got = f"shape {new.shape}" if new.shape != self._deployed.shape else "NaN or infinite values"
            raise errors.OptionError(
                "scores", expected=f"finite, ({len(self._all)},)", got=got, hint="Pass TagResult.scores."
            )
        return new

    def _begin(self, row: int, now: float) -> Event:
        self._tracks.active[row], self._tracks.ids[row] = True, str(uuid.uuid4())
        return self._event(row, "on", now)

    def _end(self, row: int, now: float, end: float, reason: str) -> Event:
        self._tracks.active[row] = False
        return self._event(row, "off", now, end=float(end + self._tracks.offset[row]), reason=reason)

    def _event(self, row: int, state: Literal["on", "off"], now: float, **ending: Any) -> Event:
        tracks = self._tracks
        offset = tracks.offset[row]
        return Event(
            state,
            tracks.ids[row],
            self._camera,
            self._all[row],
            time=float(now + offset),
            score=float(tracks.average[row]),
            peak=float(tracks.peak[row]),
            peak_time=float(tracks.peak_at[row] + offset),
            start=float(tracks.start[row] + offset),
            **ending,
        )


class _Rules(NamedTuple):
    """Settings, and for each label its thresholds and whether it is reported."""

    settings: EventSettings
    upper: Floats
    lower: Floats
    watched: NDArray[np.bool_]


class _Tracks:
    """The state of each label: arrays of ``count``; times are monotonic.

    ``up``: at or above its threshold, with hysteresis, since ``since``. ``active``: reported as on. ``start``,
    ``peak``, ``peak_at``, ``ids`` and ``offset`` (from monotonic to wall time) belong to the current event.
    """

    def __init__(self, count: int) -> None:
        self.last: float | None = None
        self.average: Floats = np.zeros(count)
        self.up: NDArray[np.bool_] = np.zeros(count, np.bool_)
        self.active: NDArray[np.bool_] = np.zeros(count, np.bool_)
        self.since: Floats = np.zeros(count)
        self.start: Floats = np.zeros(count)
        self.peak: Floats = np.zeros(count)
        self.peak_at: Floats = np.zeros(count)
        self.offset: Floats = np.zeros(count)
        self.ids = [""] * count


def _check_range(name: str, value: float, most: float, expected: str) -> None:
    if not (0 <= value <= most and math.isfinite(value)):
        hint = "Scores and thresholds are from 0 to 1." if most == 1 else "Times are in seconds."
        raise errors.OptionError(name, expected=expected, got=repr(value), hint=hint)
