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
        watched = np.zeros(len(labels), np.bool_)
        watched[
            list(index.values()) if settings.labels is None else [find_label(x, index) for x in settings.labels]
        ] = 1
        watched[[find_label(x, index) for x in settings.deny]] = 0

        self._camera = camera
        self._settings = settings
        self._count = len(labels)
        self._last: float | None = None
        self._columns = np.flatnonzero(watched)
        self._labels = [labels[column] for column in self._columns]
        self._upper, self._lower = on[self._columns], off[self._columns]
        self._reset()

    @property
    def labels(self) -> list[str]:
        """The labels that it can report, in the order of the scores."""
        return list(self._labels)

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
        new = self._checked(scores)
        now = monotonic if self._last is None else max(monotonic, self._last)
        self._smooth(new, 0.0 if self._last is None else now - self._last)
        self._last = now

        up = (self._average >= self._upper) | (self._up & (self._average >= self._lower))
        self._since[up != self._up] = now
        starting = up & ~self._up & ~self._active
        self._start[starting], self._offset[starting], self._peak[starting] = now, wall - now, -np.inf
        higher = (up | self._active) & (self._average > self._peak)
        self._peak[higher], self._peak_at[higher] = self._average[higher], now
        self._up = up

        held = now - self._since
        begins = up & ~self._active & (held >= self._settings.min_duration)
        ends = ~up & self._active & (held >= self._settings.min_gap)
        return [self._begin(row) for row in np.flatnonzero(begins).tolist()] + [
            self._end(row, now, self._since[row], "score") for row in np.flatnonzero(ends).tolist()
        ]

    def close(self, monotonic: float, reason: str) -> list[Event]:
        """The events that end because no frames will follow; the next frame then counts as the first.

        They end with the last frame that showed them. ``monotonic`` is the time of the notices.
        """
        closed = []
        for row in np.flatnonzero(self._active).tolist():
            last = float(self._last or 0.0)
            end = last if self._up[row] else self._since[row]
            closed.append(self._end(row, max(monotonic, last), end, reason))
        self._reset()
        return closed

    def _reset(self) -> None:
        count = len(self._labels)
        self._last = None
        self._average: Floats = np.zeros(count)
        self._up = np.zeros(count, np.bool_)  # above the thresholds, with hysteresis
        self._active = np.zeros(count, np.bool_)  # reported as on
        # Monotonic times of each label's last change, start and peak; and what makes wall time of them.
        self._since: Floats = np.zeros(count)
        self._start: Floats = np.zeros(count)
        self._peak: Floats = np.zeros(count)
        self._peak_at: Floats = np.zeros(count)
        self._offset: Floats = np.zeros(count)
        self._ids = [""] * count

    def _checked(self, scores: ArrayLike) -> Floats:
        new = np.asarray(scores, np.float64)
        if new.shape != (self._count,) or not np.isfinite(new).all():
            got = f"shape {new.shape}" if new.shape != (self._count,) else "NaN or infinite values"
            raise errors.OptionError(
                "scores", expected=f"finite, ({self._count},)", got=got, hint="Pass TagResult.scores."
            )
        return new[self._columns]

    def _smooth(self, new: Floats, elapsed: float) -> None:
        constant = self._settings.smoothing
        weight = 1.0 if self._last is None or constant == 0 else -np.expm1(-elapsed / constant)
        self._average += weight * (new - self._average)

    def _begin(self, row: int) -> Event:
        self._active[row], self._ids[row] = True, str(uuid.uuid4())
        return self._event(row, "on", float(self._last or 0.0))

    def _end(self, row: int, now: float, end: float, reason: str) -> Event:
        self._active[row] = False
        return self._event(row, "off", now, end=float(end + self._offset[row]), reason=reason)

    def _event(self, row: int, state: Literal["on", "off"], now: float, **ending: Any) -> Event:
        offset = self._offset[row]
        return Event(
            state,
            self._ids[row],
            self._camera,
            self._labels[row],
            time=float(now + offset),
            score=float(self._average[row]),
            peak=float(self._peak[row]),
            peak_time=float(self._peak_at[row] + offset),
            start=float(self._start[row] + offset),
            **ending,
        )


def _check_range(name: str, value: float, most: float, expected: str) -> None:
    if not 0 <= value <= most:
        raise errors.OptionError(name, expected=expected, got=repr(value), hint="See EventSettings.")
