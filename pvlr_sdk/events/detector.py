"""Smoothing, hysteresis and minimum duration: what makes a steady event of scores that flicker."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import errors
from ..labels import find_label
from .event import Event

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EventSettings:
    """How scores become events; times in seconds, scores and thresholds from 0 to 1.

    Attributes:
        smoothing: time constant of the moving average of each score; 0: none.
        margin: how far the average must fall below the threshold before the label counts as gone. At most half of the
            threshold is taken off, so that a low threshold can be left too.
        min_duration: a label is reported once it has been there for this long.
        min_gap: an event goes on through gaps shorter than this.
        on: thresholds of some labels, in place of those given to the detector (the deployed ones).
        off: lower thresholds of some labels, in place of the upper one less ``margin``.
        labels: only these labels; None: all.
        deny: not these labels.

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
    """Turns the scores of one camera's frames, one call a frame, into events.

    The average is exponentially weighted by time, not by frame: a score counts with 1 - exp(-dt / smoothing), dt being
    the time since the frame before (Eckner, "Algorithms for unevenly spaced time series", 2012, EMA with next-point
    interpolation). So a camera with 5 and one with 30 frames a second give the same events, to within a frame, and
    after a long gap only what is new counts. Durations are measured by the monotonic clock alone.

    Args:
        camera: its name, for the events.
        labels: the C label names, in the order of the scores.
        thresholds: (C,), the score from which on each label is there.
        settings: see :class:`EventSettings`.

    Raises:
        UnknownLabelError: the settings name a label that is not in ``labels``.
        OptionError: ``thresholds`` is not (C,), or a label's lower threshold is above its upper one.
    """

    def __init__(
        self, camera: str, labels: Sequence[str], thresholds: ArrayLike, settings: EventSettings | None = None
    ) -> None:
        settings = settings or EventSettings()
        index = {name: position for position, name in enumerate(labels)}
        on = np.array(thresholds, np.float64)
        if on.shape != (len(labels),):
            raise errors.OptionError(
                "thresholds", expected=f"({len(labels)},)", got=str(on.shape), hint="One threshold for each label."
            )
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
        allowed = labels if settings.labels is None else settings.labels
        watched = {find_label(label, index) for label in allowed} - {
            find_label(label, index) for label in settings.deny
        }

        self._camera = camera
        self._settings = settings
        self._count = len(labels)
        self._columns = np.array(sorted(watched), np.intp)
        self._labels = [labels[column] for column in sorted(watched)]
        self._upper, self._lower = on[self._columns], off[self._columns]
        self._tracks = _Tracks(len(self._labels))

    @property
    def labels(self) -> list[str]:
        """The labels that it can report, in the order of the scores."""
        return list(self._labels)

    @property
    def thresholds(self) -> dict[str, float]:
        """Those labels, each with the smoothed score from which on it is there."""
        return dict(zip(self._labels, self._upper.tolist(), strict=True))

    def update(self, monotonic: float, wall: float, scores: ArrayLike) -> list[Event]:
        """The events that one frame brings.

        Args:
            monotonic: when the frame was captured, in seconds of a clock that is never set (``time.monotonic``). A
                frame older than the one before counts as captured with it.
            wall: the same moment in seconds since the epoch.
            scores: (C,), finite.

        Raises:
            OptionError: scores of another shape, or not finite.
        """
        new, tracks = self._checked(scores), self._tracks
        now = monotonic if tracks.last is None else max(monotonic, tracks.last)
        constant = self._settings.smoothing
        weight = 1.0 if tracks.last is None or constant == 0 else -np.expm1((tracks.last - now) / constant)
        tracks.average += weight * (new - tracks.average)
        tracks.last = now

        up = (tracks.average >= self._upper) | (tracks.up & (tracks.average >= self._lower))
        tracks.since[up != tracks.up] = now
        starting = up & ~tracks.up & ~tracks.active
        tracks.start[starting], tracks.offset[starting], tracks.peak[starting] = now, wall - now, -np.inf
        higher = (up | tracks.active) & (tracks.average > tracks.peak)
        tracks.peak[higher], tracks.peak_at[higher] = tracks.average[higher], now
        tracks.up = up

        held = now - tracks.since
        begins = up & ~tracks.active & (held >= self._settings.min_duration)
        ends = ~up & tracks.active & (held >= self._settings.min_gap)
        return [self._begin(row, now) for row in np.flatnonzero(begins).tolist()] + [
            self._end(row, now, tracks.since[row], "score") for row in np.flatnonzero(ends).tolist()
        ]

    def close(self, monotonic: float, reason: str) -> list[Event]:
        """The events that end because no frames will follow; the next frame then counts as the first.

        They end with the last frame that showed them. ``monotonic`` is the time of the notices.
        """
        tracks, closed = self._tracks, []
        if tracks.last is not None:
            for row in np.flatnonzero(tracks.active).tolist():
                end = tracks.last if tracks.up[row] else tracks.since[row]
                closed.append(self._end(row, max(monotonic, tracks.last), end, reason))
        self._tracks = _Tracks(len(self._labels))
        return closed

    def _checked(self, scores: ArrayLike) -> Floats:
        new = np.asarray(scores, np.float64)
        if new.shape != (self._count,) or not np.isfinite(new).all():
            got = f"shape {new.shape}" if new.shape != (self._count,) else "NaN or infinite values"
            raise errors.OptionError(
                "scores", expected=f"finite, ({self._count},)", got=got, hint="Pass TagResult.scores."
            )
        return new[self._columns]

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
            self._labels[row],
            time=float(now + offset),
            score=float(tracks.average[row]),
            peak=float(tracks.peak[row]),
            peak_time=float(tracks.peak_at[row] + offset),
            start=float(tracks.start[row] + offset),
            **ending,
        )


class _Tracks:
    """What is known of each label: arrays of ``count``; times are monotonic.

    ``up`` is above the thresholds, with hysteresis, since ``since``; ``active`` is reported as on. ``start``, ``peak``,
    ``peak_at``, ``ids`` and ``offset`` (what makes a wall time of a monotonic one) are those of the event under way.
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
    if not 0 <= value <= most:
        raise errors.OptionError(name, expected=expected, got=repr(value), hint="See EventSettings.")
